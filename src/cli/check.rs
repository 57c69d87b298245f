//! `vigie check`: every mistake at once.

use super::{ConfigFile, Failure};

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    println!(
        "{}: fine: {} source{}, {} brand{}",
        file.config.display(),
        config.sources.len(),
        if config.sources.len() == 1 { "" } else { "s" },
        config.prefilter.brands.len(),
        if config.prefilter.brands.len() == 1 { "" } else { "s" },
    );
    Ok(())
}
