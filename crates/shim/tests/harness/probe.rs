//! A program for hostile containers: `probe NUMBER [ARGUMENT...]` makes one system call and prints `ok` or its error number.
//!
//! An argument is a number or, behind a colon, text. `probe int80` enters the kernel as a program of 32 bits does;
//! `probe bomb` forks without end, and so does each child.
//! Built by the tests that need it.

use std::ffi::{CString, c_long};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments[0] == "bomb" {
        const FORK: c_long = 57;
        loop {
            // SAFETY: none is claimed: this is what a hostile program does.
            unsafe { syscall(FORK) };
        }
    }
    if arguments[0] == "int80" {
        // SAFETY: getpid takes nothing; the upper halves of registers are lost to nobody.
        unsafe { std::arch::asm!("int 0x80", inout("eax") 20 => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _) };
        return println!("ok");
    }
    let texts: Vec<Option<CString>> =
        arguments.iter().map(|word| word.strip_prefix(':').map(|text| CString::new(text).unwrap())).collect();
    let mut values = [0; 7];
    for ((value, word), text) in values.iter_mut().zip(&arguments).zip(&texts) {
        *value = text.as_ref().map_or_else(|| word.parse().unwrap(), |text| text.as_ptr() as c_long);
    }
    let [number, a, b, c, d, e, f] = values;
    // SAFETY: none is claimed: this is what a hostile program does.
    if unsafe { syscall(number, a, b, c, d, e, f) } == -1 {
        println!("{}", std::io::Error::last_os_error().raw_os_error().unwrap());
    } else {
        println!("ok");
    }
}
