//! ONNX Runtime through its shared library, where there is one: faster than rten, and with accelerators.
//!
//! `ort` 2.0.0-rc.15 keeps the library and its environment in statics, for the life of the process:
//!
//! - a second library is silently ignored, so we remember which one was loaded and refuse another;
//! - a second environment is an error even after the first is dropped, so we keep the first;
//! - it panics when a library's entry points give null, so the first steps run under `catch_unwind`;
//! - it trusts the file to be whole, so `library::check` looks before the loader does.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ort::environment::{Environment, EnvironmentBuilder};
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use parking_lot::Mutex;

use super::{Batch, INPUTS, Outputs, Runtime, RuntimeError, library};

/// The library of this process, once one was loaded.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

#[derive(Clone)]
struct Loaded {
    path: PathBuf,
    name: String,
    environment: Result<Environment, String>,
}

/// A session with the graph loaded.
pub(super) struct OnnxRuntime {
    name: String,
    session: Session,
}

impl OnnxRuntime {
    /// Loads the library at `path`, or takes the one loaded before, and the graph into it.
    pub(super) fn open(path: &Path, model: &[u8], threads: NonZeroUsize) -> Result<Self, RuntimeError> {
        let (name, environment) = load(path)?;
        let session = session(&environment, model, threads)
            .map_err(|reason| RuntimeError::Graph { runtime: name.clone(), reason })?;
        Ok(Self { name, session })
    }
}

impl Runtime for OnnxRuntime {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&mut self, batch: &Batch) -> Result<Outputs, RuntimeError> {
        let failed = |error: ort::Error| RuntimeError::Run {
            runtime: self.name.clone(),
            reason: error.message().to_owned(),
        };
        let shape = [batch.posts(), batch.tokens()];
        let [ids, mask] = INPUTS;
        let inputs = ort::inputs![
            ids => TensorRef::from_array_view((shape, batch.ids())).map_err(failed)?,
            mask => TensorRef::from_array_view((shape, batch.mask())).map_err(failed)?,
        ];
        let outputs = self.session.run(inputs).map_err(failed)?;
        Outputs::collect(batch.posts(), |name| {
            let output = outputs.get(name).ok_or("the graph has no such output")?;
            let (shape, values) =
                output.try_extract_tensor::<f32>().map_err(|error| error.message().to_owned())?;
            let shape = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
            Ok((shape, values.to_vec()))
        })
    }
}

fn session(environment: &Environment, model: &[u8], threads: NonZeroUsize) -> Result<Session, String> {
    fn said<R>(error: ort::Error<R>) -> String {
        error.message().to_owned()
    }
    Session::builder(environment)
        .map_err(said)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(said)?
        .with_intra_threads(threads.get())
        .map_err(said)?
        .with_inter_threads(1)
        .map_err(said)?
        // Idle threads would burn the cores that the lanes need.
        .with_intra_op_spinning(false)
        .map_err(said)?
        // Every batch has another shape: remembering the memory of each one only grows.
        .with_memory_pattern(false)
        .map_err(said)?
        .commit_from_memory(model)
        .map_err(said)
}

/// The name and environment of the library at `path`.
fn load(path: &Path) -> Result<(String, Environment), RuntimeError> {
    let refused = |reason: String| RuntimeError::Library { path: path.to_owned(), reason };
    let canonical = path.canonicalize().map_err(|error| refused(error.to_string()))?;
    let mut loaded = LOADED.lock();
    // What is no library is told to be none, whatever else is loaded.
    if loaded.as_ref().is_none_or(|loaded| loaded.path != canonical) {
        library::check(&canonical).map_err(|error| refused(error.to_string()))?;
    }
    let loaded = match &*loaded {
        Some(loaded) => loaded,
        None => {
            // `ort` sets its statics only when this succeeds, so that after a refusal another library
            // may still be loaded.
            let builder =
                guarded(|| ort::init_from(&canonical).map_err(|error| error.to_string())).map_err(refused)?;
            let environment = guarded(|| environment(builder).map_err(|error| error.to_string()));
            let version = library::version(&canonical);
            let name = version.map_or("onnxruntime".to_owned(), |version| format!("onnxruntime {version}"));
            loaded.insert(Loaded { path: canonical.clone(), name, environment })
        }
    };
    if loaded.path != canonical {
        let other = loaded.path.display();
        return Err(refused(format!("{other} is loaded already, and a process can load only one")));
    }
    match &loaded.environment {
        Ok(environment) => Ok((loaded.name.clone(), environment.clone())),
        Err(reason) => Err(refused(reason.clone())),
    }
}

fn environment(builder: EnvironmentBuilder) -> ort::Result<Environment> {
    let environment = builder
        .with_name("vigie")
        .with_telemetry(false)
        // What goes wrong comes back as an error too, and is logged by whoever stops it.
        .with_logger(Arc::new(|_, _, _, location, said| tracing::debug!(location, "onnxruntime: {said}")))
        .build()?;
    environment.set_log_level(LogLevel::Error);
    Ok(environment)
}

/// What `action` gives, a panic in it as an error.
fn guarded<T>(action: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        Err(format!("is no ONNX Runtime that can be used: {said}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// How the parent test tells its child which library to open.
    const LIBRARY: &str = "VIGIE_TEST_BAD_LIBRARY";

    /// Runs as a child of the test below, in a process of its own: what a library breaks stays broken.
    #[test]
    fn a_library_that_a_parent_names_is_opened() {
        let Some(path) = std::env::var_os(LIBRARY) else {
            return;
        };
        let path = PathBuf::from(path);
        let error = OnnxRuntime::open(&path, &[], NonZeroUsize::MIN).err().unwrap();
        println!("refused: {error}");
        let again = OnnxRuntime::open(&path, &[], NonZeroUsize::MIN).err().unwrap();
        println!("again: {again}");
    }

    /// Opens `library` in a child process and looks for both texts in how it was refused, twice.
    fn check(library: &Path, reason: &str) {
        let name = "classify::runtime::onnxruntime::tests::a_library_that_a_parent_names_is_opened";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(LIBRARY, library)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{reason}: {said}{}", String::from_utf8_lossy(&child.stderr));
        for attempt in ["refused", "again"] {
            let start = format!("{attempt}: ONNX Runtime library {}: ", library.display());
            let line = said.lines().find_map(|line| line.split_once(&start)).map(|(_, reason)| reason);
            assert!(line.is_some_and(|line| line.contains(reason)), "{reason}: {said}");
        }
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error_with_its_path_and_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libonnxruntime.so");
        check(&path, "No such file or directory");
        check(folder.path(), "is not a file");
        std::fs::write(&path, "<html>404</html>".repeat(10)).unwrap();
        check(&path, "not an ELF file");
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        std::fs::write(&path, &this[..this.len() / 2]).unwrap();
        check(&path, "is cut");
    }

    #[test]
    fn a_library_that_is_no_usable_onnx_runtime_is_an_error_and_no_abort() {
        let folder = tempfile::tempdir().unwrap();
        for (name, base, reason) in [
            ("other", "", "does not export `OrtGetApiBase`"),
            ("old", r#"OldBase OrtGetApiBase() { return base("1.16.3"); }"#, "but got '1.16.3'"),
            ("no_base", "void *OrtGetApiBase() { return 0; }", "is no ONNX Runtime that can be used"),
            (
                "no_api",
                r#"OldBase OrtGetApiBase() { return base("1.31.1"); }"#,
                "is no ONNX Runtime that can",
            ),
        ] {
            let (source, library) = (folder.path().join("stub.c"), folder.path().join(name));
            let code = format!(
                "static const char *version; static const char *get_version() {{ return version; }}
                 static void *get_api(unsigned v) {{ return 0; }}
                 typedef struct {{ void *api; void *version; }} *OldBase;
                 static OldBase base(const char *v) {{
                     static void *entries[2]; version = v;
                     entries[0] = get_api; entries[1] = get_version; return (OldBase) entries; }}
                 OldBase unused() {{ return base(\"\"); }}
                 {base}"
            );
            std::fs::write(&source, code).unwrap();
            let built =
                Command::new("cc").args(["-shared", "-fPIC", "-w", "-o"]).arg(&library).arg(&source).status();
            if !built.is_ok_and(|status| status.success()) {
                println!("skipped: no C compiler to build the libraries with");
                return;
            }
            check(&library, reason);
        }
    }
}
