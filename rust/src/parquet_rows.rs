//! The rows of a Parquet file as JSON.

use std::ffi::c_char;
use std::fs::File;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Map, Value};

use crate::abi::{guarded, OckhamBytes, OckhamText};
use crate::tokenizer::explain;

fn object(row: &Row) -> Result<Value, String> {
    let mut fields = Map::new();
    for (name, field) in row.get_column_iter() {
        fields.insert(name.clone(), json(field).map_err(|error| format!("column '{name}': {error}"))?);
    }
    Ok(Value::Object(fields))
}

fn json(field: &Field) -> Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(x) => (*x).into(),
        Field::Byte(x) => (*x).into(),
        Field::Short(x) => (*x).into(),
        Field::Int(x) => (*x).into(),
        Field::Long(x) => (*x).into(),
        Field::UByte(x) => (*x).into(),
        Field::UShort(x) => (*x).into(),
        Field::UInt(x) => (*x).into(),
        Field::ULong(x) => (*x).into(),
        Field::Float(x) => f64::from(*x).into(),
        Field::Double(x) => (*x).into(),
        Field::Str(x) => x.as_str().into(),
        Field::Bytes(x) => std::str::from_utf8(x.data()).map_err(|_| "holds bytes that are not UTF-8")?.into(),
        Field::Group(row) => object(row)?,
        Field::ListInternal(list) => Value::Array(list.elements().iter().map(json).collect::<Result<_, _>>()?),
        Field::MapInternal(map) => {
            let mut fields = Map::new();
            for (key, value) in map.entries() {
                let Field::Str(key) = key else { return Err("holds a map whose keys are no texts".into()) };
                fields.insert(key.clone(), json(value)?);
            }
            Value::Object(fields)
        }
        other => other.to_string().into(),
    })
}

fn read_rows(path: &str, limit: usize) -> Result<String, String> {
    let reader = SerializedFileReader::new(File::open(path).map_err(explain)?).map_err(explain)?;
    let mut out = String::from("[");
    for (i, row) in reader.get_row_iter(None).map_err(explain)?.enumerate() {
        if limit > 0 && i >= limit {
            break;
        }
        let row = row.map_err(explain).and_then(|row| object(&row)).map_err(|error| format!("row {}: {error}", i + 1))?;
        if i > 0 {
            out.push(',');
        }
        out.push_str(&row.to_string());
    }
    out.push(']');
    Ok(out)
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_parquet_rows(path: OckhamText, limit: usize, out: *mut OckhamBytes) -> *mut c_char {
    guarded(|| {
        *out = OckhamBytes::new(read_rows(path.text()?, limit)?.into_bytes());
        Ok(())
    })
}
