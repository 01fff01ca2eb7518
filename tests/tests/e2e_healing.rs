//! Marks that virtual nodes overwrite, by themselves and in both of virtual-kubelet's styles: put back where nothing protects
//! them, never lost where the shield stands.

#[path = "healing/edit.rs"]
mod edit;
#[path = "healing/overwrite.rs"]
mod overwrite;
#[path = "healing/shield.rs"]
mod shield;
#[path = "healing/writer.rs"]
mod writer;
