//! Chat templates: the Jinja environment of Hugging Face's `apply_chat_template`.

use std::ffi::c_char;
use std::fmt::Write;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind};

use crate::abi::{guarded, OckhamBytes, OckhamText};

/// Instructions that one rendering may take: far above a long conversation, and about a second of work.
const FUEL: u64 = 10_000_000;

/// `{% generation %}` marks the assistant's tokens for training; for rendering it is transparent, so the tags become an
/// always-true condition, which keeps their whitespace control.
fn neutralise_generation(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let Some(end) = rest.find("%}") else { break };
        let inner = &rest[2..end];
        let word = inner.trim_matches(|c: char| c == '-' || c == '+' || c.is_whitespace());
        let replacement = match word {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        match replacement {
            Some(new) => {
                let _ = write!(out, "{{%{}%}}", inner.replace(word, &format!(" {new} ")));
                rest = &rest[end + 2..];
            }
            None => {
                out.push_str("{%");
                rest = &rest[2..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// As Python's json.dumps.
struct JsonStyle {
    ensure_ascii: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

impl JsonStyle {
    fn line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    }

    fn text(&self, out: &mut String, text: &str) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if (c as u32) < 0x20 || (self.ensure_ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }

    fn value(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > 100 {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: nested deeper than 100"));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => {
                let _ = write!(out, "{value}");
            }
            ValueKind::Number => out.push_str(&python_float(f64::try_from(value.clone())?)),
            ValueKind::String => self.text(out, value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.items(out, ('[', ']'), &items, depth, |out, item| self.value(out, item, depth + 1))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.items(out, ('{', '}'), &keys, depth, |out, key| {
                    self.text(out, &key.to_string());
                    out.push_str(&self.key_separator);
                    self.value(out, &value.get_item(key)?, depth + 1)
                })?;
            }
            kind => return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: {kind} is not JSON"))),
        }
        Ok(())
    }

    fn items(
        &self,
        out: &mut String,
        brackets: (char, char),
        items: &[Value],
        depth: usize,
        mut write_item: impl FnMut(&mut String, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(brackets.0);
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                out.push_str(&self.item_separator);
            }
            self.line(out, depth + 1);
            write_item(out, item)?;
        }
        if !items.is_empty() {
            self.line(out, depth);
        }
        out.push(brackets.1);
        Ok(())
    }
}

/// Python's repr: shortest digits, an exponent from 1e16 on and below 1e-4.
pub fn python_float(x: f64) -> String {
    if !x.is_finite() {
        return if x.is_nan() { "NaN" } else if x > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    if x != 0.0 && (x.abs() >= 1e16 || x.abs() < 1e-4) {
        let text = format!("{x:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        return format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    format!("{x:?}")
}

/// tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False), without HTML escapes.
fn tojson(
    value: &Value,
    ensure_ascii: Option<Value>,
    indent: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let option = |given: Option<Value>, name: &str| -> Result<Option<Value>, Error> {
        let value = if given.is_some() { given } else { options.get::<Option<Value>>(name)? };
        Ok(value.filter(|v| !v.is_none() && !v.is_undefined()))
    };
    let ensure_ascii = option(ensure_ascii, "ensure_ascii")?.is_some_and(|v| v.is_true());
    let indent = match option(indent, "indent")? {
        None => None,
        Some(v) if v.as_str().is_some() => v.as_str().map(str::to_string),
        Some(v) if v.kind() == ValueKind::Bool => Some(" ".repeat(usize::from(v.is_true()))),
        Some(v) => Some(" ".repeat(usize::try_from(v)?.min(64))),
    };
    let separators = option(None, "separators")?;
    let sort_keys = option(None, "sort_keys")?.is_some_and(|v| v.is_true());
    options.assert_all_used()?;
    let separator = |index: usize, fallback: &str| match &separators {
        None => Ok(fallback.to_string()),
        Some(pair) => pair.get_item_by_index(index).map(|v| v.to_string()),
    };
    let style = JsonStyle {
        ensure_ascii,
        item_separator: separator(0, if indent.is_some() { "," } else { ", " })?,
        key_separator: separator(1, ": ")?,
        indent,
        sort_keys,
    };
    let mut out = String::new();
    style.value(&mut out, value, 0)?;
    Ok(Value::from_safe_string(out))
}

/// Now, or the moment of SOURCE_DATE_EPOCH, so that a template that prints the date can be rendered twice alike.
fn strftime_now(format: &str) -> Result<String, Error> {
    let bad = |text: String| Error::new(ErrorKind::InvalidOperation, text);
    let mut out = String::new();
    let written = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(epoch) => {
            let seconds = epoch.parse().ok().and_then(|s| chrono::DateTime::from_timestamp(s, 0));
            let moment = seconds.ok_or_else(|| bad(format!("SOURCE_DATE_EPOCH '{epoch}' is not a number of seconds")))?;
            write!(out, "{}", moment.format(format))
        }
        Err(_) => write!(out, "{}", chrono::Local::now().format(format)),
    };
    written.map_err(|_| bad(format!("strftime_now: bad format '{format}'")))?;
    Ok(out)
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(200);
    env.add_filter("tojson", tojson);
    env.add_function("raise_exception", |text: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, text))
    });
    env.add_function("strftime_now", |format: String| strftime_now(&format));
    Ok(env)
}

/// The innermost message, which is the template's own for raise_exception, with the line of the template.
pub fn explain(error: Error) -> String {
    let kind = error.kind().to_string();
    let text = error.detail().unwrap_or(&kind).to_string();
    match error.line() {
        Some(line) => format!("{text} (line {line} of the template)"),
        None => text,
    }
}

fn render(source: &str, context: &str) -> Result<String, String> {
    let mut context: serde_json::Value = serde_json::from_str(context).map_err(|e| format!("context: {e}"))?;
    let source = neutralise_generation(source);
    let env = environment().map_err(explain)?;
    let attempt = |context: &serde_json::Value| -> Result<String, String> {
        let context: Value = serde_json::from_value(context.clone()).map_err(|e| format!("context: {e}"))?;
        env.render_str(&source, context).map_err(explain)
    };
    attempt(&context).or_else(|error| {
        // Undefined suits more templates than none, but a few compare these two with none.
        for key in ["tools", "documents"] {
            if context.get(key).is_none() {
                context[key] = serde_json::Value::Null;
            }
        }
        attempt(&context).map_err(|_| error)
    })
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_chat_render(
    source: OckhamText,
    context: OckhamText,
    out: *mut OckhamBytes,
) -> *mut c_char {
    guarded(|| {
        *out = OckhamBytes::new(render(source.text()?, context.text()?)?.into_bytes());
        Ok(())
    })
}
