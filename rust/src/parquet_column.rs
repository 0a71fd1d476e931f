//! One column of strings from a Parquet file.

use std::ffi::c_char;
use std::fs::File;

use parquet::basic::Type;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::abi::{give, guarded, OckhamBytes, OckhamStrings, OckhamText};
use crate::tokenizer::explain;

const ROWS_AT_ONCE: usize = 4096;

fn read_column(path: &str, column: &str) -> Result<(Vec<u8>, Vec<u64>), String> {
    let reader = SerializedFileReader::new(File::open(path).map_err(explain)?).map_err(explain)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let names: Vec<String> = schema.columns().iter().map(|c| c.path().string()).collect();
    let index = names
        .iter()
        .position(|name| name == column)
        .ok_or_else(|| format!("no column '{column}'; there are: {}", names.join(", ")))?;
    let description = schema.column(index);
    if description.physical_type() != Type::BYTE_ARRAY || description.max_rep_level() > 0 {
        return Err(format!(
            "column '{column}' holds {}{}, expected strings",
            description.physical_type(),
            if description.max_rep_level() > 0 { " lists" } else { "" }
        ));
    }

    let full = description.max_def_level();
    let (mut text, mut lengths) = (vec![], vec![]);
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(explain)?;
        let ColumnReader::ByteArrayColumnReader(mut pages) = group.get_column_reader(index).map_err(explain)? else {
            return Err(format!("column '{column}' does not hold strings"));
        };
        loop {
            let mut values: Vec<ByteArray> = vec![];
            let mut levels: Vec<i16> = vec![];
            let (rows, _, _) =
                pages.read_records(ROWS_AT_ONCE, Some(&mut levels), None, &mut values).map_err(explain)?;
            if rows == 0 {
                break;
            }
            if let Some(row) = levels.iter().position(|&level| level < full) {
                return Err(format!("column '{column}' has no value in row {}", lengths.len() + row + 1));
            }
            for value in values {
                std::str::from_utf8(value.data())
                    .map_err(|_| format!("column '{column}', row {}: not UTF-8", lengths.len() + 1))?;
                lengths.push(value.data().len() as u64);
                text.extend_from_slice(value.data());
            }
        }
    }
    Ok((text, lengths))
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_parquet_column(
    path: OckhamText,
    column: OckhamText,
    out: *mut OckhamStrings,
) -> *mut c_char {
    guarded(|| {
        let (text, lengths) = read_column(path.text()?, column.text()?)?;
        let (lengths, count) = give(lengths);
        *out = OckhamStrings { text: OckhamBytes::new(text), lengths, count };
        Ok(())
    })
}
