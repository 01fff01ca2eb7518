//! The order in which the exec agent of the image is linked: `cold.ld`.

fn main() {
    println!("cargo::rerun-if-changed=cold.ld");
    println!("cargo::rerun-if-changed=build.rs");
    // What images hold; other builds may use linkers that know no scripts.
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bin=probelet-agent=-Wl,-T,{folder}/cold.ld");
    }
}
