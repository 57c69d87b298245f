//! Makes the Rust types of the ticket socket from vigie's own `vigie.proto`, for the load client.
//!
//! The client shares the contract with the daemon and no code: a mistake in the daemon's framing cannot
//! hide behind the same mistake here.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../src/wire/vigie.proto");
    let descriptors = protox::compile(["../src/wire/vigie.proto"], ["../src/wire"])?;
    prost_build::Config::new().btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
