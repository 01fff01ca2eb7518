//! The sidecar's program as a process, against an API server that follows a script.

#[expect(dead_code, reason = "written for the tests of the reporter")]
#[path = "reporter/app.rs"]
mod app;
#[path = "program/edit.rs"]
mod edit;
#[path = "program/process.rs"]
mod process;
#[path = "program/restart.rs"]
mod restart;
#[path = "program/stand_by.rs"]
mod stand_by;
#[expect(dead_code, reason = "written for the tests of the reporter")]
#[path = "reporter/stub.rs"]
mod stub;
