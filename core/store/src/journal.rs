//! fjall's journals, looked at before fjall does.
//!
//! fjall cuts a journal off where it cannot read on, or refuses to open at all, whatever the reason; and it does not
//! notice a batch whose place in the order was damaged. After a power failure the last group of ops, which nobody was
//! told of, may be there in any part: that is no damage, and is cut off. Everything before was synced, so what is
//! broken there is damage, and nothing is touched then.
//!
//! The two are told apart by what follows. A group ends with the batch that holds its number, and the next group is
//! begun only after a sync: whatever stands behind such a batch proves that everything before it was durable, and so
//! does a number that is not the next.

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

use crate::OpenError;
use crate::mark::{KEY, RowMark};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";
/// fjall numbers batches upward, leaving out few numbers.
const GAP_MAX: u64 = 1 << 32;

/// Looks at all journals in a directory, and cuts off what the end of the last may hold of ops that were never
/// durable. `durable` is a commit known to have been; after a stop in order nothing may be `torn`.
///
/// # Errors
/// [`OpenError::Damaged`] or [`OpenError::Shortfall`]; nothing was changed then.
pub(crate) fn check_journals(dir: &Path, durable: u64, torn: bool) -> Result<(), OpenError> {
    let mut journals = journals(dir)?;
    journals.sort();
    let (mut number, mut cut) = (None, None);
    let count = journals.len();
    for (index, (_, path)) in journals.into_iter().enumerate() {
        let octets = read_used(&path)?;
        let found = Batches::read(&octets);
        number = found.number.or(number);
        let rest = octets.get(found.sound..).unwrap_or_default();
        if rest.iter().all(|octet| *octet == 0) {
            continue;
        }
        let last = index + 1 == count;
        if !last || !torn || was_durable(rest, number) {
            return Err(OpenError::Damaged(format!(
                "the journal {} is broken at octet {}, and that was durable",
                path.display(),
                found.sound
            )));
        }
        cut = Some((path, found.sound));
    }
    // Where no journal holds a number the tables do; they are asked when they are open.
    if let Some(number) = number.filter(|number| *number < durable) {
        return Err(OpenError::Shortfall {
            durable,
            found: number,
        });
    }
    if let Some((path, length)) = cut {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(length as u64)?;
        file.sync_all()?;
    }
    Ok(())
}

/// The journals in a directory, by their numbers.
pub(crate) fn journals(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut journals = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "jnl") {
            let number = path.file_stem().and_then(|n| n.to_str()?.parse().ok());
            // fjall itself refuses other names.
            journals.push((number.unwrap_or_default(), path));
        }
    }
    Ok(journals)
}

/// A file up to where its last hole begins: fjall makes journals 64 MiB long before it writes them.
pub(crate) fn read_used(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut used = 0;
    loop {
        match lseek(&file, used, Whence::SeekData) {
            Ok(data) => used = lseek(&file, data, Whence::SeekHole)?,
            Err(Errno::ENXIO) => break,
            // A file system that does not know holes.
            Err(Errno::EINVAL) => {
                used = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
                break;
            }
            Err(e) => return Err(e.into()),
        }
    }
    lseek(&file, 0, Whence::SeekSet)?;
    let mut octets = Vec::new();
    file.take(used.unsigned_abs()).read_to_end(&mut octets)?;
    Ok(octets)
}

/// What a journal holds from its beginning on.
struct Batches {
    /// Where the last sound batch ends.
    sound: usize,
    /// The last commit in them.
    number: Option<u64>,
}

impl Batches {
    fn read(octets: &[u8]) -> Self {
        let mut found = Self {
            sound: 0,
            number: None,
        };
        let mut before = None;
        while let Some(batch) = octets.get(found.sound..).and_then(Batch::read) {
            // The order is not part of fjall's checksum.
            let follows =
                before.is_none_or(|before| batch.order > before && batch.order - before <= GAP_MAX);
            if !follows {
                break;
            }
            before = Some(batch.order);
            found.sound += batch.length;
            found.number = batch.number.or(found.number);
        }
        found
    }
}

/// Whether what cannot be read from its beginning was durable: something stands behind the end of a group, or it holds
/// the end of a group later than the one that follows the last sound one.
fn was_durable(octets: &[u8], last: Option<u64>) -> bool {
    // Nothing is torn where only the order is wrong.
    if Batch::read(octets).is_some() {
        return true;
    }
    let mut at = 0;
    while let Some(rest) = octets.get(at..).filter(|rest| !rest.is_empty()) {
        match Batch::read(rest) {
            Some(batch) => {
                at += batch.length;
                let behind = octets.get(at..).unwrap_or_default();
                if let Some(number) = batch.number {
                    let later = last.is_some_and(|last| number > last + 1);
                    return later || behind.iter().any(|octet| *octet != 0);
                }
            }
            None => at += 1,
        }
    }
    false
}

/// One batch.
struct Batch {
    length: usize,
    order: u64,
    /// The commit that it ends.
    number: Option<u64>,
}

impl Batch {
    /// Reads a whole batch from the beginning of these octets.
    fn read(octets: &[u8]) -> Option<Self> {
        let mut rest = octets;
        if u8::from_le_bytes(take(&mut rest)?) != START {
            return None;
        }
        let items = u32::from_le_bytes(take(&mut rest)?);
        let order = u64::from_le_bytes(take(&mut rest)?);
        let (content, mut number) = (rest, None);
        for _ in 0..items {
            match u8::from_le_bytes(take(&mut rest)?) {
                ITEM => {
                    // Kind, compression, keyspace.
                    take::<10>(&mut rest)?;
                    let key = usize::from(u16::from_le_bytes(take(&mut rest)?));
                    let _whole = take::<4>(&mut rest)?;
                    let value = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
                    let (key, behind) = rest.split_at_checked(key)?;
                    let (value, behind) = behind.split_at_checked(value)?;
                    rest = behind;
                    if key == KEY {
                        number = RowMark::decode(value).map(|row| row.mark.number).or(number);
                    }
                }
                CLEAR => drop(take::<8>(&mut rest)?),
                _ => return None,
            }
        }
        let content = content.get(..content.len() - rest.len())?;
        if u8::from_le_bytes(take(&mut rest)?) != END {
            return None;
        }
        let checksum = u64::from_le_bytes(take(&mut rest)?);
        let rest = rest.strip_prefix(TRAILER)?;
        (xxh3_64(content) == checksum).then_some(Self {
            length: octets.len() - rest.len(),
            order,
            number,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mark::Mark;

    fn batch(order: u64, key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut item = vec![ITEM, 0, 0];
        item.extend(1_u64.to_le_bytes());
        item.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
        item.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        item.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        item.extend(key);
        item.extend(value);
        let mut out = vec![START];
        out.extend(1_u32.to_le_bytes());
        out.extend(order.to_le_bytes());
        out.extend(&item);
        out.push(END);
        out.extend(xxh3_64(&item).to_le_bytes());
        out.extend(TRAILER);
        out
    }

    /// A group of one op, with its number.
    fn group(number: u64) -> Vec<u8> {
        let mark = RowMark {
            mark: Mark { boot: 1, number },
            bodies: 0,
        };
        let value = mark.batch(false).writes[0].2.clone().unwrap();
        [
            batch(number * 10, b"key", &[7; 600]),
            batch(number * 10 + 1, KEY, &value),
        ]
        .concat()
    }

    fn check(name: &str, octets: &[u8], durable: u64) -> (Result<(), OpenError>, u64) {
        let dir = std::env::temp_dir().join(format!("mox-journal-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("0.jnl");
        fs::write(&path, octets).unwrap();
        let result = check_journals(&dir, durable, true);
        let length = fs::metadata(&path).unwrap().len();
        fs::remove_dir_all(&dir).unwrap();
        (result, length)
    }

    #[test]
    fn a_last_group_in_any_part_is_cut_off_and_is_no_damage() {
        let sound = [group(1), group(2)].concat();
        let whole = [sound.clone(), group(3)].concat();
        let (result, length) = check("whole", &[&whole[..], &[0; 5000]].concat(), 3);
        assert_eq!((result, length), (Ok(()), whole.len() as u64 + 5000));
        for hole in (sound.len()..whole.len()).step_by(7) {
            let mut torn = whole.clone();
            let end = (hole + 64).min(whole.len());
            torn[hole..end].fill(0);
            let (result, length) = check("torn", &torn, 2);
            assert_eq!(result, Ok(()), "{hole}");
            // Its first batch may be whole and stay: it is an op of its own.
            assert!(
                (sound.len() as u64..=hole as u64).contains(&length),
                "{hole}: {length}"
            );
            let (result, length) = check("short", &torn, 3);
            let shortfall = OpenError::Shortfall {
                durable: 3,
                found: 2,
            };
            assert_eq!(
                (result, length),
                (Err(shortfall), whole.len() as u64),
                "{hole}"
            );
        }
    }

    #[test]
    fn what_is_broken_before_something_durable_is_damage_and_stays_as_it_is() {
        let sound = [group(1), group(2), group(3)].concat();
        let first = group(1).len();
        for at in 0..sound.len() - group(3).len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 1 << (at % 8);
            let (result, length) = check("damaged", &damaged, 0);
            let order = |start: usize| (start + 5..start + 13).contains(&at);
            let mark = batch(0, b"key", &[7; 600]).len();
            let orders = [0, mark, first, first + mark];
            if result.is_ok() {
                // Between its neighbours a batch may have any number.
                assert!(orders.iter().any(|start| order(*start)), "{at}");
            } else {
                assert!(
                    matches!(result, Err(OpenError::Damaged(_))),
                    "{at}: {result:?}"
                );
            }
            assert_eq!(length, sound.len() as u64);
        }
    }
}
