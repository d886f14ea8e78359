//! A disk that loses what was not synced when the power fails, as a file layer (VFS) of SQLite.
//!
//! The real file holds only what was synced. What is written later lies in memory until the next sync. After a given
//! number of operations the power fails: of what lies in memory, an arbitrary part reaches the file, by sectors and
//! whether earlier or later, and the process ends at once.
//!
//! The unsafe code here is the interface that SQLite calls; it converts pointers and does nothing else.
#![allow(unsafe_code, reason = "SQLite calls a file layer through pointers")]

use crate::script::scatter;
use rusqlite::ffi;
use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::fs::{File, OpenOptions};
use std::os::unix::{ffi::OsStrExt as _, fs::FileExt as _};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What reaches the disk as a whole or not at all.
const SECTOR: usize = 512;

/// When the power fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// After so many operations.
    operations: u64,
    /// Decides what is lost.
    seed: u64,
    /// Whether a sync does anything.
    honest: bool,
}

impl FromStr for Settings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [operations, seed, honest] = parts[..] else { return Err(format!("three words are needed, not {text:?}")) };
        Ok(Self {
            operations: operations.parse().map_err(|_| format!("{operations:?} is no number"))?,
            seed: seed.parse().map_err(|_| format!("{seed:?} is no number"))?,
            honest: honest.parse().map_err(|_| format!("{honest:?} is neither true nor false"))?,
        })
    }
}

enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// An open file.
struct Image {
    /// What the disk has.
    durable: File,
    /// What a reader sees.
    content: Vec<u8>,
    /// What makes the difference, oldest first.
    pending: Vec<Pending>,
}

struct Disk {
    settings: Settings,
    next_id: u64,
    files: HashMap<u64, Image>,
}

static DISK: Mutex<Option<Disk>> = Mutex::new(None);

/// All of the disk; its operations happen one after the other.
struct Locked(MutexGuard<'static, Option<Disk>>);

impl Locked {
    fn get() -> Self {
        Self(DISK.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn disk(&mut self) -> &mut Disk {
        self.0.as_mut().expect("the disk was installed before SQLite was told of it")
    }
}

impl Disk {
    fn open(&mut self, path: &Path) -> std::io::Result<u64> {
        let durable = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let content = std::fs::read(path)?;
        self.next_id += 1;
        self.files.insert(self.next_id, Image { durable, content, pending: Vec::new() });
        Ok(self.next_id)
    }

    fn file(&mut self, id: u64) -> &mut Image {
        self.files.get_mut(&id).expect("SQLite uses only open files")
    }

    /// Counts an operation that changes something.
    fn tick(&mut self) {
        self.settings.operations -= 1;
        if self.settings.operations == 0 {
            self.fail();
        }
    }

    /// The power fails.
    fn fail(&mut self) -> ! {
        let mut random = self.settings.seed;
        for image in self.files.values_mut() {
            random = scatter(random);
            // Nothing, a quarter, half, three quarters or all of it reaches the disk.
            let share = random % 5;
            for pending in std::mem::take(&mut image.pending) {
                image.persist_some(&pending, &mut random, share);
            }
        }
        std::process::abort();
    }
}

impl Image {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.content.len() < end {
            self.content.resize(end, 0);
        }
        self.content[offset..end].copy_from_slice(bytes);
        self.pending.push(Pending::Write { offset, bytes: bytes.to_vec() });
    }

    fn truncate(&mut self, length: usize) {
        self.content.resize(length, 0);
        self.pending.push(Pending::Truncate(length));
    }

    fn sync(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            self.persist_some(&pending, &mut 0, 4);
        }
    }

    fn persist_some(&self, pending: &Pending, random: &mut u64, share: u64) {
        let mut chosen = || {
            *random = scatter(*random);
            *random % 4 < share
        };
        let result = match pending {
            Pending::Truncate(length) if chosen() => self.durable.set_len(*length as u64),
            Pending::Truncate(_) => Ok(()),
            Pending::Write { offset, bytes } => {
                let mut at = *offset;
                let mut result = Ok(());
                while at < offset + bytes.len() {
                    let end = ((at / SECTOR + 1) * SECTOR).min(offset + bytes.len());
                    if chosen() {
                        result = result.and(self.durable.write_all_at(&bytes[at - offset..end - offset], at as u64));
                    }
                    at = end;
                }
                result
            }
        };
        result.expect("the real disk takes what the simulated one keeps");
    }
}

/// A file as SQLite sees it. Begins with what SQLite wants there.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    id: u64,
}

/// Makes this disk the one of all SQLite files that are opened from now on in this process.
pub(crate) fn install(settings: Settings) {
    *DISK.lock().unwrap_or_else(PoisonError::into_inner) = Some(Disk { settings, next_id: 0, files: HashMap::new() });
    // SAFETY: a null name asks for the default layer, which lives as long as the process.
    let usual = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()).as_ref() }.expect("SQLite has a default file layer");
    let mut vfs = *usual;
    vfs.szOsFile = c_int::try_from(size_of::<Handle>()).expect("a handle is small");
    vfs.zName = c"power".as_ptr();
    vfs.pNext = std::ptr::null_mut();
    vfs.xOpen = Some(open);
    vfs.xDelete = Some(delete);
    // SAFETY: the layer is never freed; what it has not replaced works without its own data.
    let registered = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 1) };
    assert_eq!(registered, ffi::SQLITE_OK, "SQLite takes the file layer");
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    // The store has a lock of its own.
    xLock: Some(lock),
    xUnlock: Some(lock),
    xCheckReservedLock: Some(check_lock),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives `szOsFile` bytes, which is the size of a handle.
    let handle = unsafe { &mut *file.cast::<Handle>() };
    handle.base.pMethods = std::ptr::null();
    if name.is_null() {
        // A temporary file: the store's statements need none.
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: a name that is not null is a C string.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()));
    let Ok(id) = Locked::get().disk().open(path) else { return ffi::SQLITE_CANTOPEN };
    handle.id = id;
    handle.base.pMethods = &METHODS;
    if !out_flags.is_null() {
        // SAFETY: it is not null, so SQLite wants the flags there.
        unsafe { *out_flags = flags };
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, _sync: c_int) -> c_int {
    let mut locked = Locked::get();
    locked.disk().tick();
    // SAFETY: SQLite deletes by name.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()));
    if std::fs::remove_file(path).is_ok() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_DELETE_NOENT }
}

/// The id of an open file.
fn id(file: *mut ffi::sqlite3_file) -> u64 {
    // SAFETY: SQLite calls the methods only with files that `open` has made, which are handles.
    unsafe { (*file.cast::<Handle>()).id }
}

fn place(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or_else(|_| panic!("SQLite's offsets and sizes are not negative"))
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    Locked::get().disk().files.remove(&id(file));
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives a buffer of `amount` bytes.
    let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), place(amount)) };
    let mut locked = Locked::get();
    let content = &locked.disk().file(id(file)).content;
    let have = content.get(place(offset)..).unwrap_or_default();
    let length = have.len().min(to.len());
    to[..length].copy_from_slice(&have[..length]);
    to[length..].fill(0);
    if length == to.len() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives a buffer of `amount` bytes.
    let from = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), place(amount)) };
    let mut locked = Locked::get();
    locked.disk().tick();
    locked.disk().file(id(file)).write(place(offset), from);
    ffi::SQLITE_OK
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: i64) -> c_int {
    let mut locked = Locked::get();
    locked.disk().tick();
    locked.disk().file(id(file)).truncate(place(length));
    ffi::SQLITE_OK
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    let mut locked = Locked::get();
    locked.disk().tick();
    if locked.disk().settings.honest {
        locked.disk().file(id(file)).sync();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    let length = Locked::get().disk().file(id(file)).content.len();
    // SAFETY: SQLite wants the size there.
    unsafe { *size = i64::try_from(length).expect("a file is not that large") };
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock(_file: *mut ffi::sqlite3_file, _level: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_lock(_file: *mut ffi::sqlite3_file, result: *mut c_int) -> c_int {
    // SAFETY: SQLite wants the answer there.
    unsafe { *result = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn control(_file: *mut ffi::sqlite3_file, _operation: c_int, _argument: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    // As the usual layer has it; it is what SQLite pads for, not what is torn here.
    4096
}

unsafe extern "C" fn characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    // As the usual layer has it: bytes beside those that are written stay as they are.
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}
