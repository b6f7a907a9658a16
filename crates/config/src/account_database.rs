//! Whether the SQLite file that coturn keeps accounts in holds any. Owns as much of the file format as that takes
//! (<https://www.sqlite.org/fileformat.html>); reads no account.

/// Whether there is anything in the file that clients authenticate with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accounts {
    /// There is: accounts or shared secrets.
    Some,
    /// There is nothing of the kind.
    None,
    /// It is no SQLite file, or a damaged one.
    Unreadable,
}

/// Looks into the file. Rows that stand in a write-ahead log beside it are not seen.
pub(crate) fn accounts(file: &[u8]) -> Accounts {
    match tables_with_rows(file) {
        Some(true) => Accounts::Some,
        Some(false) => Accounts::None,
        None => Accounts::Unreadable,
    }
}

fn tables_with_rows(file: &[u8]) -> Option<bool> {
    file.strip_prefix(MAGIC)?;
    let page_size = match u16_at(file, 16)? {
        1 => 65536,
        size @ 512..=32768 if size.is_power_of_two() => usize::from(size),
        _ => return None,
    };
    let database = Database { file, page_size };
    let mut left = vec![1];
    let mut seen = 0;
    while let Some(number) = left.pop() {
        seen += 1;
        if seen > SCHEMA_PAGES_MAX {
            return None;
        }
        let page = database.page(number)?;
        for cell in page.cells()? {
            match page.kind {
                INTERIOR_TABLE => left.push(u32_at(page.bytes, cell)?),
                _ => {
                    let root = table_root(page.bytes.get(cell..)?)?;
                    if let Some(root) = root
                        && database.page(root)?.has_rows()
                    {
                        return Some(true);
                    }
                }
            }
        }
        if page.kind == INTERIOR_TABLE {
            left.push(u32_at(page.bytes, page.start + 8)?);
        }
    }
    Some(false)
}

/// The first page of a table, if the row of the schema is about one that holds what clients authenticate with.
fn table_root(cell: &[u8]) -> Option<Option<u32>> {
    let (_, cell) = varint(cell)?;
    let (_, record) = varint(cell)?;
    let (header_len, mut types) = varint(record)?;
    let mut values = record.get(usize::try_from(header_len).ok()?..)?;
    let mut columns = [&[][..]; 4];
    for column in &mut columns {
        let kind;
        (kind, types) = varint(types)?;
        let len = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            12.. => (kind - 12) / 2,
            _ => return None,
        };
        let value;
        (value, values) = values.split_at_checked(usize::try_from(len).ok()?)?;
        *column = value;
    }
    let [kind, name, _, root] = columns;
    let wanted = kind == b"table" && TABLES.iter().any(|table| name == table.as_bytes());
    if !wanted {
        return Some(None);
    }
    let number = root
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    Some(Some(u32::try_from(number).ok()?))
}

struct Database<'a> {
    file: &'a [u8],
    page_size: usize,
}

impl<'a> Database<'a> {
    /// A page, counted from 1; the first one begins behind the header of the file.
    fn page(&self, number: u32) -> Option<Page<'a>> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let at = index.checked_mul(self.page_size)?;
        let bytes = self.file.get(at..)?.get(..self.page_size)?;
        let start = if number == 1 { FILE_HEADER_BYTES } else { 0 };
        let kind = *bytes.get(start)?;
        let count = usize::from(u16_at(bytes, start + 3)?);
        [2, INTERIOR_TABLE, 10, 13].contains(&kind).then_some(Page {
            bytes,
            start,
            kind,
            count,
        })
    }
}

struct Page<'a> {
    bytes: &'a [u8],
    /// Where the header of the page is.
    start: usize,
    kind: u8,
    count: usize,
}

impl Page<'_> {
    fn has_rows(&self) -> bool {
        self.count > 0 || self.kind == INTERIOR_TABLE
    }

    /// Where the cells are.
    fn cells(&self) -> Option<Vec<usize>> {
        let pointers = self.start + if self.kind == INTERIOR_TABLE { 12 } else { 8 };
        (0..self.count)
            .map(|index| u16_at(self.bytes, pointers + 2 * index).map(usize::from))
            .collect()
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

/// A number of one to nine bytes, of each but the ninth seven bits, and what is behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        let rest = bytes.get(index + 1..)?;
        if index == 8 {
            return Some((number << 8 | u64::from(*byte), rest));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, rest));
        }
    }
    None
}

const MAGIC: &[u8] = b"SQLite format 3\0";
const FILE_HEADER_BYTES: usize = 100;
const INTERIOR_TABLE: u8 = 5;
/// coturn's tables of accounts and of shared secrets.
const TABLES: [&str; 2] = ["turnusers_lt", "turn_secret"];
/// coturn's schema takes one to a dozen.
const SCHEMA_PAGES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_secrets_are_found() {
        for (file, expected) in [
            (
                &include_bytes!("../tests/turndb/empty.sqlite")[..],
                Accounts::None,
            ),
            (
                include_bytes!("../tests/turndb/peers.sqlite"),
                Accounts::None,
            ),
            (
                include_bytes!("../tests/turndb/accounts.sqlite"),
                Accounts::Some,
            ),
            (
                include_bytes!("../tests/turndb/secret.sqlite"),
                Accounts::Some,
            ),
            (b"", Accounts::Unreadable),
            (b"SQLite format 3\0", Accounts::Unreadable),
            (b"realm=example.org\n", Accounts::Unreadable),
        ] {
            assert_eq!(accounts(file), expected, "{} bytes", file.len());
        }
    }

    #[test]
    fn damaged_files_are_survived() {
        let whole = include_bytes!("../tests/turndb/accounts.sqlite");
        for at in 0..whole.len().min(2048) {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0xff;
            accounts(&damaged);
            assert_ne!(accounts(&whole[..at]), Accounts::Some, "{at}");
        }
        // A page that is its own child is not followed for ever.
        let mut looped = whole.to_vec();
        looped[100] = INTERIOR_TABLE;
        looped[108..112].copy_from_slice(&[0, 0, 0, 1]);
        looped[103..105].copy_from_slice(&[0, 0]);
        assert_eq!(accounts(&looped), Accounts::Unreadable);
    }
}
