//! `vigie import customers` of a CSV file with so many rows: into an empty ledger, and then the same file once more.
//!
//! `VIGIE_BENCH_CUSTOMERS` says how many (a thousand by default, so that this runs as a test in a moment); the file and the
//! ledger of a million take some 700 MB below `target/`, and are gone afterwards. Not criterion: an import is run a few
//! times as the command that it is, and its processor time and memory are the kernel's.

#[path = "parts/command.rs"]
mod command;
#[path = "parts/mode.rs"]
mod mode;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs with figures; the middle one is to be believed.
const RUNS: usize = 3;

fn main() {
    let asked = std::env::var("VIGIE_BENCH_CUSTOMERS").ok().and_then(|count| count.parse().ok());
    let count: u64 = asked.unwrap_or(1_000);
    let folder =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build's folder can be written");
    let file = folder.path().join("customers.csv");
    write(&file, count).expect("room on the disk");
    for _ in 0..if mode::measures() { RUNS } else { 1 } {
        let folder = tempfile::tempdir_in(folder.path()).expect("the folder can be written");
        let ledger = folder.path().join("ledger.sqlite");
        for (name, outcome) in [("new", "new"), ("again", "unchanged")] {
            let ran = command::run(|command| {
                command
                    .args(["import", "customers", "--time-zone", "UTC", "--ledger"])
                    .arg(&ledger)
                    .arg(&file);
            });
            let told = String::from_utf8_lossy(&ran.stdout).replace(',', "");
            assert!(told.contains(&format!("{count} {outcome}")), "{told}");
            if mode::measures() {
                println!("{count} customers, {name}: {}", ran.shown());
            }
        }
    }
}

/// In no order, as a company's export is: two accounts each, and purchases of one in three.
fn write(path: &Path, count: u64) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "key,name,tier,value,language,flags,purchases,bluesky,x")?;
    for n in 0..count {
        // Another for each n, which looks like a random number.
        let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        let tier = ["", "gold", "silver"][n as usize % 3];
        let purchase = match n % 3 {
            0 => {
                format!("2026-{:02}-{:02} {}.90 \"\"Lumiobox\"\" and cable", n % 12 + 1, n % 28 + 1, n % 900)
            }
            _ => String::new(),
        };
        writeln!(
            file,
            "C{mixed:016x},Customer {n} of Lumio,{tier},{},fr,,\"{purchase}\",did:plc:{mixed:016x}{n:08x},user_{n:x}",
            n % 10_000,
        )?;
    }
    file.flush()
}
