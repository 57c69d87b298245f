//! The life of the program: arguments, the command, the exit code.

use std::process::ExitCode;

use clap::Parser;
use vigie::cli::{Cli, Failure};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of sysexits.h: a mistake in arguments or config, which no restart cures.
const EXIT_MISTAKE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and are no mistake. A closed stdout is none of ours.
            drop(error.print());
            return if error.use_stderr() { ExitCode::from(EXIT_MISTAKE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Mistake(error)) => {
            eprintln!("vigie: {error:#}");
            ExitCode::from(EXIT_MISTAKE)
        }
        Err(Failure::Fault(error)) => {
            eprintln!("vigie: {error:#}");
            ExitCode::FAILURE
        }
    }
}
