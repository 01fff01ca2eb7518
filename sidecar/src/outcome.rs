//! What one run of a probe came to.

/// One run's result. A handler that could not run at all is an error instead, never a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handler's success, with its message; kubelet's Warning counts as success too.
    Success(String),
    /// The handler's failure, with its message.
    Failure(String),
}
