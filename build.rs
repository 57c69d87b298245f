//! Makes the Rust types of the ticket socket from `src/wire/vigie.proto`, with a protoc written in Rust.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=src/wire/vigie.proto");
    let descriptors = protox::compile(["src/wire/vigie.proto"], ["src/wire"])?;
    // A hello holds the token, and whatever is printed may reach a log: `ticket.rs` says how one is shown.
    prost_build::Config::new().btree_map(["."]).skip_debug([".vigie.v1.Hello"]).compile_fds(descriptors)?;
    Ok(())
}
