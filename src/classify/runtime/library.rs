//! Where an ONNX Runtime may be installed, and whether a file can be given to the loader at all.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How the shared library's file name begins; a version may follow.
const FILE_NAME: &str = "libonnxruntime.so";

/// How far into the library its version is looked for, in bytes.
///
/// The linker puts the table of names first; in 1.31 it ends before 0.9 MB.
const VERSION_SEARCH_BYTES: u64 = 8 * 1024 * 1024;

/// The folders where packages and people put it, beside the binary first.
pub(super) fn standard_places() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|binary| Some(binary.parent()?.to_owned()));
    let installed = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/local/lib",
        "/opt/onnxruntime/lib",
    ]
    .map(PathBuf::from);
    beside.into_iter().chain(installed).collect()
}

/// The first ONNX Runtime in `places`; of several in one place the one without a version in its name, which
/// is the link that an administrator set, else the newest.
pub(super) fn find(places: &[PathBuf]) -> Option<PathBuf> {
    places.iter().find_map(|place| {
        let files = place.read_dir().ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        files
            .filter_map(|path| {
                let version = path.file_name()?.to_str()?.strip_prefix(FILE_NAME)?;
                let rank = match version.strip_prefix('.') {
                    None if version.is_empty() => (1, Vec::new()),
                    None => return None,
                    Some(parts) => {
                        (0, parts.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>().ok()?)
                    }
                };
                path.is_file().then_some((Reverse(rank), path))
            })
            .min()
            .map(|(_, path)| path)
    })
}

/// Whether the loader can be trusted with the file: it is there, and all of it.
///
/// The system's loader maps a library without comparing its segments with the file's size, so that a
/// download that was cut ends the whole process with `SIGBUS` once a missing page is touched.
pub(super) fn check(path: &Path) -> io::Result<()> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(invalid("is not a file"));
    }
    let file = File::open(path)?;
    let header = Elf(read_at::<64>(&file, 0).map_err(|_| invalid("is not a shared library (too short)"))?);
    if header.0.first_chunk() != Some(b"\x7fELF") {
        return Err(invalid("is not a shared library (not an ELF file)"));
    }
    // 32-bit and big-endian files are not ours to judge: the loader refuses what is not for this machine.
    if header.0.get(4..6) != Some(&[2, 1]) {
        return Ok(());
    }
    // ELF-64 header: e_phoff at 32, e_phentsize at 54, e_phnum at 56. A program header has p_type at 0,
    // p_offset at 8 and p_filesz at 32; a segment to be loaded has type 1.
    let (offset, size, count) = (header.u64_at(32), header.u16_at(54), header.u16_at(56));
    for segment in 0..u64::from(count) {
        let at = offset.saturating_add(segment * u64::from(size));
        let segment = Elf(read_at::<56>(&file, at).map_err(|_| invalid("is cut"))?);
        let end = segment.u64_at(8).saturating_add(segment.u64_at(32));
        if segment.array(0) == 1_u32.to_le_bytes() && end > metadata.len() {
            let bytes = metadata.len();
            return Err(invalid(&format!("is cut: it has {bytes} bytes and needs {end} or more")));
        }
    }
    Ok(())
}

/// The version that the library carries in its symbol names (`VERS_1.31.1`), where it does.
pub(super) fn version(path: &Path) -> Option<String> {
    const MARK: &[u8] = b"VERS_";
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(VERSION_SEARCH_BYTES).read_to_end(&mut bytes).ok()?;
    let found = bytes.windows(MARK.len()).position(|window| window == MARK)?;
    let version = bytes.get(found + MARK.len()..)?.split(|byte| *byte == 0).next()?;
    let version = str::from_utf8(version).ok()?;
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_version.then(|| version.to_owned())
}

fn read_at<const N: usize>(file: &File, offset: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// A little-endian header; what lies outside it reads as zero.
struct Elf<const N: usize>([u8; N]);

impl<const N: usize> Elf<N> {
    fn u16_at(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    fn array<const M: usize>(&self, at: usize) -> [u8; M] {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; M])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_wins_then_the_link_then_the_newest() {
        let check = |places: &[&[&str]], expected: Option<&str>| {
            let root = tempfile::tempdir().unwrap();
            let mut folders = vec![root.path().join("absent")];
            for (idx, files) in places.iter().enumerate() {
                let folder = root.path().join(idx.to_string());
                std::fs::create_dir(&folder).unwrap();
                for file in *files {
                    std::fs::write(folder.join(file), "").unwrap();
                }
                folders.push(folder);
            }
            let found = find(&folders);
            assert_eq!(found, expected.map(|file| root.path().join(file)), "in {places:?}");
        };
        check(&[], None);
        check(&[&["libonnx.so", "libonnxruntime.dylib", "libonnxruntime_providers_shared.so"]], None);
        check(&[&["libonnxruntime.sox", "libonnxruntime.so.old", "libonnxruntime.so.1.part"]], None);
        check(&[&[], &["libonnxruntime.so"]], Some("1/libonnxruntime.so"));
        check(&[&["libonnxruntime.so.1"], &["libonnxruntime.so"]], Some("0/libonnxruntime.so.1"));
        check(
            &[&["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.31.1", "libonnxruntime.so.1.31"]],
            Some("0/libonnxruntime.so.1.31.1"),
        );
        check(&[&["libonnxruntime.so.2", "libonnxruntime.so"]], Some("0/libonnxruntime.so"));
    }

    #[test]
    fn a_folder_of_that_name_is_no_library() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("libonnxruntime.so")).unwrap();
        assert_eq!(find(&[root.path().to_owned()]), None);
    }

    /// An ELF-64 file whose one loaded segment ends at `end`.
    fn elf(end: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = 1;
        bytes[64 + 8] = 16;
        bytes[64 + 32..64 + 40].copy_from_slice(&(end - 16).to_le_bytes());
        bytes
    }

    #[test]
    fn a_cut_library_never_reaches_the_loader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("library");
        let said = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            check(&path).map_err(|error| error.to_string())
        };
        assert_eq!(said(&elf(120)), Ok(()));
        assert_eq!(said(&elf(121)), Err("is cut: it has 120 bytes and needs 121 or more".into()));
        assert_eq!(said(b""), Err("is not a shared library (too short)".into()));
        assert_eq!(said(&[b'x'; 100]), Err("is not a shared library (not an ELF file)".into()));
        for cut in 64..120 {
            assert_eq!(said(&elf(120)[..cut]), Err("is cut".into()), "at byte {cut}");
        }
        assert_eq!(check(folder.path()).unwrap_err().to_string(), "is not a file");
    }

    #[test]
    fn the_version_is_read_from_the_symbol_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("library");
        let check = |bytes: &[u8], expected: Option<&str>| {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(version(&path).as_deref(), expected);
        };
        check(b"\0OrtGetApiBase\0VERS_1.31.1\0libm.so.6\0", Some("1.31.1"));
        check(b"\0VERS_\0", None);
        check(b"\0VERS_beta\0", None);
        check(b"", None);
    }
}
