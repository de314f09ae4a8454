//! Names of files, and the two small ones: MANIFEST (which log this is, which segments it must
//! have) and CLEAN (how it ended when it was closed).

use crate::codec::{Cursor, array, u32_at};
use crate::error::{Error, Result};
use crate::hash::HashKey;
use crate::sabotage::Safeguard;
use crate::storage::{self, Storage};

pub(crate) const FORMAT_VERSION: u32 = 1;
pub(crate) const MANIFEST: &str = "MANIFEST";
pub(crate) const CLEAN: &str = "CLEAN";
pub(crate) const SPARE: &str = "log/spare";
pub(crate) const SPARE_TMP: &str = "log/spare.tmp";
pub(crate) const NEXT: &str = "log/next.tmp";
const MANIFEST_MAGIC: [u8; 8] = *b"EnsueMan";
const CLEAN_MAGIC: [u8; 8] = *b"EnsueCln";
/// Small files are this long at most.
const BYTES_MAX: usize = 4096;

/// The name of the segment that starts at `first`.
pub(crate) fn segment(first: u64) -> String {
    format!("log/{first:020}.seg")
}

pub(crate) fn index(first: u64) -> String {
    format!("idx/{first:020}.idx")
}

/// The ids of a segment that was trimmed.
pub(crate) fn ids(first: u64) -> String {
    format!("log/{first:020}.ids")
}

pub(crate) fn checkpoint(at: u64) -> String {
    format!("checkpoint/{at:020}.cp")
}

/// The number in a file name with this extension.
pub(crate) fn number(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

/// The numbers of all files with `extension` in `directory`, ascending.
pub(crate) fn numbers(storage: &dyn Storage, directory: &str, extension: &str) -> Result<Vec<u64>> {
    let names = storage
        .list(directory)
        .map_err(Error::io("list", storage.describe(directory)))?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| number(name, extension))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Which log this is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manifest {
    pub(crate) uuid: u128,
    pub(crate) hash_key: HashKey,
    /// Segments that start before this were trimmed.
    pub(crate) first: u64,
    /// A segment that starts here must exist; `u64::MAX` before there is one.
    pub(crate) newest: u64,
}

impl Manifest {
    pub(crate) fn new() -> Self {
        let mut random = fastrand::Rng::new();
        let mut hash_key = [0; 16];
        random.fill(&mut hash_key);
        Self {
            uuid: random.u128(..),
            hash_key: HashKey(hash_key),
            first: 0,
            newest: u64::MAX,
        }
    }

    pub(crate) fn read(storage: &dyn Storage) -> Result<Option<Self>> {
        let Some(bytes) = storage::read_file(storage, MANIFEST, BYTES_MAX)? else {
            return Ok(None);
        };
        let name = || storage.describe(MANIFEST);
        let mut fields = open_small(&bytes, MANIFEST_MAGIC, &name)?;
        let manifest = (|| {
            let uuid = fields.u128()?;
            let hash_key = HashKey(array(fields.take(16)?, 0)?);
            Some(Self {
                uuid,
                hash_key,
                first: fields.u64()?,
                newest: fields.u64()?,
            })
        })();
        let short = || Error::corrupt(name(), 0, "the manifest is too short");
        manifest
            .filter(|_| fields.is_empty())
            .ok_or_else(short)
            .map(Some)
    }

    pub(crate) fn write(&self, storage: &dyn Storage) -> Result<()> {
        let mut fields = Vec::new();
        fields.extend_from_slice(&self.uuid.to_le_bytes());
        fields.extend_from_slice(&self.hash_key.0);
        fields.extend_from_slice(&self.first.to_le_bytes());
        fields.extend_from_slice(&self.newest.to_le_bytes());
        storage::replace(storage, "", MANIFEST, &seal_small(MANIFEST_MAGIC, &fields))
    }
}

/// How the log ended when it was closed: a tail that differs was damaged later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clean {
    pub(crate) uuid: u128,
    /// The position after the last record.
    pub(crate) end: u64,
    /// The checksum of the last frame.
    pub(crate) chain: u32,
}

impl Clean {
    pub(crate) fn read(storage: &dyn Storage) -> Result<Option<Self>> {
        let Some(bytes) = storage::read_file(storage, CLEAN, BYTES_MAX)? else {
            return Ok(None);
        };
        let name = || storage.describe(CLEAN);
        let mut fields = open_small(&bytes, CLEAN_MAGIC, &name)?;
        let clean = (|| {
            Some(Self {
                uuid: fields.u128()?,
                end: fields.u64()?,
                chain: fields.u32()?,
            })
        })();
        let short = || Error::corrupt(name(), 0, "the clean-shutdown marker is too short");
        clean
            .filter(|_| fields.is_empty())
            .ok_or_else(short)
            .map(Some)
    }

    pub(crate) fn write(&self, storage: &dyn Storage) -> Result<()> {
        let mut fields = Vec::new();
        fields.extend_from_slice(&self.uuid.to_le_bytes());
        fields.extend_from_slice(&self.end.to_le_bytes());
        fields.extend_from_slice(&self.chain.to_le_bytes());
        storage::replace(storage, "", CLEAN, &seal_small(CLEAN_MAGIC, &fields))
    }
}

/// Magic, version, fields, checksum of all before it.
fn seal_small(magic: [u8; 8], fields: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(fields);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn open_small<'a>(
    bytes: &'a [u8],
    magic: [u8; 8],
    name: &dyn Fn() -> String,
) -> Result<Cursor<'a>> {
    let damaged = |what| Error::corrupt(name(), 0, what);
    let Some((head, crc)) = bytes.split_last_chunk::<4>() else {
        return Err(damaged("it is too short"));
    };
    if u32::from_le_bytes(*crc) != crc32c::crc32c(head) && !Safeguard::FileChecksum.is_off() {
        return Err(damaged("its checksum does not match"));
    }
    if array(head, 0) != Some(magic) {
        return Err(damaged("it does not start with its magic bytes"));
    }
    match u32_at(head, 8) {
        Some(FORMAT_VERSION) => Ok(Cursor::new(head.get(12..).unwrap_or_default())),
        Some(found) => Err(Error::Version {
            file: name(),
            found,
            supported: FORMAT_VERSION,
        }),
        None => Err(damaged("it is too short")),
    }
}
