//! The command `firehose`.

mod cli;

use std::process::ExitCode;

use cli::Arguments;

/// A mistake in the arguments, which no restart cures.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match Arguments::checked() {
        Ok(arguments) => arguments,
        Err(message) => {
            // Nothing is left to do if the terminal is gone.
            let _ = message.print();
            return if message.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(cli::run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("firehose: {error:#}");
    ExitCode::FAILURE
}
