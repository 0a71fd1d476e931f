//! Jinja templates and regular expressions of evaluation tasks, with the settings of lm-evaluation-harness: blocks are not
//! trimmed, the last line end is kept, an undefined name is an error, values print as Python prints them.

use std::borrow::Cow;
use std::ffi::c_char;
use std::fmt::Write;

use fancy_regex::{Regex, RegexBuilder};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior};

use crate::abi::{give, guarded, OckhamBytes, OckhamStrings, OckhamText};
use crate::chat::{explain, python_float};

/// Instructions that one row may take.
const FUEL: u64 = 2_000_000;
/// Steps of the regex engine on one text, so that a hostile pattern ends.
const BACKTRACKS: usize = 1_000_000;

fn python_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// Python's repr() of a value made of JSON types.
fn python_repr(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > 100 {
        return Err(Error::new(ErrorKind::InvalidOperation, "a value is nested deeper than 100"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number if !value.is_integer() => out.push_str(&python_float(f64::try_from(value.clone())?)),
        ValueKind::String => python_quoted(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (i, item) in value.try_iter()?.enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                python_repr(out, &item, depth + 1)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (i, key) in value.try_iter()?.enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                python_repr(out, &key, depth + 1)?;
                out.push_str(": ");
                python_repr(out, &value.get_item(&key)?, depth + 1)?;
            }
            out.push('}');
        }
        _ => {
            let _ = write!(out, "{value}");
        }
    }
    Ok(())
}

fn regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .backtrack_limit(BACKTRACKS)
        .build()
        .map_err(|error| format!("regular expression '{pattern}': {error}"))
}

/// Python writes group references as \1, the crate as ${1}.
fn crate_replacement(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                let _ = write!(out, "${{{digit}}}");
                chars.next();
            }
            ('$', _) => out.push_str("$$"),
            _ => out.push(c),
        }
    }
    out
}

fn replace(text: &str, pattern: &str, replacement: &str, count: usize) -> Result<String, String> {
    let replaced: Result<Cow<str>, _> = regex(pattern)?.try_replacen(text, count, crate_replacement(replacement).as_str());
    replaced.map(Cow::into_owned).map_err(|error| format!("regular expression '{pattern}': {error}"))
}

fn unknown_method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if method == "index" && args.len() == 1 && matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        let place = value.try_iter()?.position(|item| item == args[0]);
        return place.map(Value::from).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("{} is not in the list {value}", args[0]))
        });
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build()?);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_unknown_method_callback(unknown_method);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(100);
    env.set_formatter(|out, state, value| match value.kind() {
        ValueKind::String | ValueKind::Undefined => minijinja::escape_formatter(out, state, value),
        _ => {
            let mut text = String::new();
            python_repr(&mut text, value, 0)?;
            out.write_str(&text).map_err(Error::from)
        }
    });
    env.add_filter("regex_replace", |text: String, pattern: String, value: Option<String>, count: Option<usize>| {
        replace(&text, &pattern, &value.unwrap_or_default(), count.unwrap_or(0))
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error))
    });
    Ok(env)
}

/// The expression of a template that is nothing but one `{{ expression }}`.
fn single_expression(source: &str) -> Option<&str> {
    let inner = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let is_single = !inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%");
    is_single.then(|| inner.trim_start_matches('-').trim_end_matches('-'))
}

fn for_rows(
    rows: &str,
    mut each: impl FnMut(Value) -> Result<String, String>,
) -> Result<(Vec<u8>, Vec<u64>), String> {
    let rows: Vec<serde_json::Value> = serde_json::from_str(rows).map_err(|e| format!("rows: {e}"))?;
    let (mut text, mut lengths) = (vec![], vec![]);
    for (i, row) in rows.into_iter().enumerate() {
        let context: Value = serde_json::from_value(row).map_err(|e| format!("row {}: {e}", i + 1))?;
        let out = each(context).map_err(|error| format!("row {}: {error}", i + 1))?;
        lengths.push(out.len() as u64);
        text.extend_from_slice(out.as_bytes());
    }
    Ok((text, lengths))
}

fn render(source: &str, rows: &str, as_json: bool) -> Result<(Vec<u8>, Vec<u64>), String> {
    let env = environment().map_err(explain)?;
    if as_json {
        if let Some(expression) = single_expression(source) {
            let compiled = env.compile_expression(expression).map_err(explain)?;
            return for_rows(rows, |context| {
                let value = compiled.eval(context).map_err(explain)?;
                if value.is_undefined() {
                    return Err(format!("'{}' has no value", expression.trim()));
                }
                serde_json::to_string(&value).map_err(|e| e.to_string())
            });
        }
    }
    let template = env.template_from_str(source).map_err(explain)?;
    for_rows(rows, |context| {
        let text = template.render(context).map_err(explain)?;
        if as_json {
            return serde_json::to_string(&text).map_err(|e| e.to_string());
        }
        Ok(text)
    })
}

fn strings((text, lengths): (Vec<u8>, Vec<u64>)) -> OckhamStrings {
    let (lengths, count) = give(lengths);
    OckhamStrings { text: OckhamBytes::new(text), lengths, count }
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_template_render(
    source: OckhamText,
    rows: OckhamText,
    as_json: i32,
    out: *mut OckhamStrings,
) -> *mut c_char {
    guarded(|| {
        *out = strings(render(source.text()?, rows.text()?, as_json != 0)?);
        Ok(())
    })
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_regex_find(
    pattern: OckhamText,
    text: OckhamText,
    groups: *mut usize,
    out: *mut OckhamStrings,
) -> *mut c_char {
    guarded(|| {
        let (pattern, text) = (pattern.text()?, text.text()?);
        let regex = regex(pattern)?;
        let (mut bytes, mut lengths) = (vec![], vec![]);
        for found in regex.captures_iter(text) {
            let found = found.map_err(|error| format!("regular expression '{pattern}': {error}"))?;
            for i in 0..regex.captures_len() {
                let part = found.get(i).map_or("", |m| m.as_str());
                lengths.push(part.len() as u64);
                bytes.extend_from_slice(part.as_bytes());
            }
        }
        *groups = regex.captures_len();
        *out = strings((bytes, lengths));
        Ok(())
    })
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_regex_replace(
    pattern: OckhamText,
    replacement: OckhamText,
    text: OckhamText,
    out: *mut OckhamBytes,
) -> *mut c_char {
    guarded(|| {
        *out = OckhamBytes::new(replace(text.text()?, pattern.text()?, replacement.text()?, 0)?.into_bytes());
        Ok(())
    })
}
