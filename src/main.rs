//! The life of the program: arguments, the command, the exit code.

use std::process::ExitCode;

use clap::Parser;
use vigie::cli::{Cli, Failure};
use vigie::telemetry::log::complain;

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
            complain(&format!("vigie: {}", causes(&error)));
            ExitCode::from(EXIT_MISTAKE)
        }
        // Whoever read our output has read enough: `vigie tail | head`.
        Err(Failure::Fault(error)) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(Failure::Fault(error)) => {
            complain(&format!("vigie: {}", causes(&error)));
            ExitCode::FAILURE
        }
        Err(Failure::Ended(code, error)) => {
            complain(&format!("vigie: {}", causes(&error)));
            ExitCode::from(code)
        }
    }
}

/// The error and its causes, each said once: many messages hold their cause's already.
fn causes(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !said.contains(&cause) {
            said.push_str(if said.is_empty() { "" } else { ": " });
            said.push_str(&cause);
        }
    }
    said
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
