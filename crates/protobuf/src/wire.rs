//! Protobuf's wire format: a sequence of numbered fields.

/// A field as it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) raw: Raw<'a>,
}

/// A field's value before its type is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The fields of a message, in order. After an error there are no more.
pub(crate) fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<Field<'_>, &'static str>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = field(&mut rest).ok_or("it ends within a field, or a field is malformed");
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let key = varint(rest)?;
    let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0)?;
    let raw = match key & 7 {
        0 => Raw::Varint(varint(rest)?),
        1 => Raw::Fixed64(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Raw::Bytes(take(rest, length)?)
        }
        5 => Raw::Fixed32(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?)),
        _ => return None,
    };
    Some(Field { number, raw })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, left) = rest.split_first()?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The numbers that are packed in a field. After an error there are no more.
pub(crate) fn varints(bytes: &[u8]) -> impl Iterator<Item = Result<u64, &'static str>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let number = varint(&mut rest).ok_or("packed numbers end within one");
        if number.is_err() {
            rest = &[];
        }
        Some(number)
    })
}

/// Appends a number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_bits(number) | 0x80);
        number >>= 7;
    }
    out.push(low_bits(number));
}

/// The lowest seven bits.
fn low_bits(number: u64) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or_default()
}

/// Appends a field that is a number.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends a field of eight bytes.
pub(crate) fn put_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field of bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_length(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends the beginning of a field of so many bytes.
pub(crate) fn put_length(out: &mut Vec<u8>, number: u32, bytes: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes as u64);
}

/// Appends a field whose bytes `write` appends. Its length stands before them and is known only after them: it gets one byte,
/// and what is longer than 127 bytes moves up when it is done.
pub(crate) fn put_nested<T, E>(
    out: &mut Vec<u8>,
    number: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
) -> Result<T, E> {
    put_varint(out, u64::from(number) << 3 | 2);
    let start = out.len() + 1;
    out.push(0);
    let result = write(out)?;
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = low_bits(length as u64);
        return Ok(result);
    }
    let mut prefix = [0; 10];
    let mut more = 0;
    let mut rest = length as u64;
    while rest >= 0x80 {
        prefix[more] = low_bits(rest) | 0x80;
        rest >>= 7;
        more += 1;
    }
    prefix[more] = low_bits(rest);
    out.resize(out.len() + more, 0);
    out.copy_within(start..start + length, start + more);
    out[start - 1..start + more].copy_from_slice(&prefix[..=more]);
    Ok(result)
}

/// [`put_nested`] of what cannot fail.
pub(crate) fn put_message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let written: Result<(), std::convert::Infallible> = put_nested(out, number, |out| {
        write(out);
        Ok(())
    });
    match written {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

/// How many bytes the beginning of a field takes without its length.
pub(crate) fn tag_length(number: u32) -> usize {
    // Seven bits a byte, three of them the field's type.
    match number {
        0..0x10 => 1,
        0x10..0x800 => 2,
        0x800..0x4_0000 => 3,
        0x4_0000..0x200_0000 => 4,
        _ => 5,
    }
}
