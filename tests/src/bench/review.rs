//! The AdmissionReview that the webhook's benches send.

use serde_json::Value;

const REVIEW: &str = include_str!("../../../webhook/tests/fixtures/review.json");
/// Bytes that reviews of real clusters have: two containers and managedFields.
const SIZE: usize = 9 * 1024;

/// The captured review with a second container, its managed fields repeated until it has [`SIZE`] bytes.
///
/// # Errors
/// Where the fixture is not JSON.
pub fn review() -> serde_json::Result<String> {
    let mut review: Value = serde_json::from_str(REVIEW)?;
    let fields = review["request"]["object"]["metadata"]["managedFields"][0].clone();
    let mut second = review["request"]["object"]["spec"]["containers"][0].clone();
    if let Some(containers) = review["request"]["object"]["spec"]["containers"].as_array_mut()
        && containers.len() < 2
    {
        second["name"] = "second".into();
        containers.push(second);
    }
    while review.to_string().len() < SIZE {
        if let Some(list) = review["request"]["object"]["metadata"]["managedFields"].as_array_mut() {
            list.push(fields.clone());
        }
    }
    Ok(review.to_string())
}
