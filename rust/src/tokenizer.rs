//! tokenizer.json: loading, encoding, decoding.

use std::ffi::{c_char, c_int};
use std::sync::OnceLock;

use tokenizers::{AddedToken, Tokenizer};

use crate::abi::{give, guarded, OckhamBytes, OckhamIds, OckhamText};

pub struct OckhamTokenizer {
    parsing: Tokenizer,
    /// The same tokenizer with special tokens taken as text; made when first asked for.
    literal: OnceLock<Tokenizer>,
    byte_level: OnceLock<bool>,
}

pub fn explain(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_tokenizer_load(json: OckhamText, out: *mut *mut OckhamTokenizer) -> *mut c_char {
    guarded(|| {
        // Parallel work is done by the caller, over documents.
        tokenizers::utils::parallelism::set_parallelism(false);
        let mut parsing = Tokenizer::from_bytes(json.bytes()).map_err(explain)?;
        parsing.with_truncation(None).map_err(explain)?;
        parsing.with_padding(None);
        *out = Box::into_raw(Box::new(OckhamTokenizer { parsing, literal: OnceLock::new(), byte_level: OnceLock::new() }));
        Ok(())
    })
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_tokenizer_free(tokenizer: *mut OckhamTokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_tokenizer_encode(
    tokenizer: *const OckhamTokenizer,
    text: OckhamText,
    add_special: c_int,
    parse_special: c_int,
    out: *mut OckhamIds,
) -> *mut c_char {
    guarded(|| {
        let this = &*tokenizer;
        let used = if parse_special != 0 {
            &this.parsing
        } else {
            this.literal.get_or_init(|| {
                let mut copy = this.parsing.clone();
                copy.set_encode_special_tokens(true);
                copy
            })
        };
        let encoding = used.encode_fast(text.text()?, add_special != 0).map_err(explain)?;
        let (data, length) = give(encoding.get_ids().iter().map(|&id| id as i32).collect());
        *out = OckhamIds { data, length };
        Ok(())
    })
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_tokenizer_decode(
    tokenizer: *const OckhamTokenizer,
    ids: *const i32,
    count: usize,
    skip_special: c_int,
    out: *mut OckhamBytes,
) -> *mut c_char {
    guarded(|| {
        let ids = if count == 0 { &[] } else { std::slice::from_raw_parts(ids, count) };
        let ids: Result<Vec<u32>, _> = ids.iter().map(|&id| u32::try_from(id)).collect();
        let ids = ids.map_err(|_| "a token id is negative".to_string())?;
        let text = (*tokenizer).parsing.decode(&ids, skip_special != 0).map_err(explain)?;
        *out = OckhamBytes::new(text.into_bytes());
        Ok(())
    })
}

/// The byte that byte-level tokenizers write as this character.
fn byte_of(c: char) -> Option<u8> {
    let is_plain = |b: u32| (33..=126).contains(&b) || (161..=172).contains(&b) || (174..=255).contains(&b);
    let code = c as u32;
    if code < 256 {
        return is_plain(code).then_some(code as u8);
    }
    (0..256u32).filter(|&b| !is_plain(b)).nth(code as usize - 256).map(|b| b as u8)
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_tokenizer_token_bytes(
    tokenizer: *const OckhamTokenizer,
    id: i32,
    out: *mut OckhamBytes,
) -> *mut c_char {
    guarded(|| {
        let this = &*tokenizer;
        let known = u32::try_from(id).ok().and_then(|id| Some((id, this.parsing.id_to_token(id)?)));
        let Some((id, token)) = known else {
            *out = OckhamBytes::new(Vec::new());
            return Ok(());
        };
        let is_added = this.parsing.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id);
        let is_byte_level = *this.byte_level.get_or_init(|| {
            let decoder = serde_json::to_string(&this.parsing.get_decoder()).unwrap_or_default();
            decoder.contains("\"ByteLevel\"")
        });
        let hex = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
        let bytes = if is_added {
            token.into_bytes()
        } else if is_byte_level {
            token.chars().map(byte_of).collect::<Option<Vec<u8>>>().unwrap_or_else(|| token.into_bytes())
        } else if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            vec![byte]
        } else {
            token.replace('\u{2581}', " ").into_bytes()
        };
        *out = OckhamBytes::new(bytes);
        Ok(())
    })
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_tokenizer_vocabulary(tokenizer: *const OckhamTokenizer) -> usize {
    let highest = (*tokenizer).parsing.get_vocab(true).into_values().max();
    highest.map_or(0, |id| id as usize + 1)
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_tokenizer_token_id(tokenizer: *const OckhamTokenizer, token: OckhamText) -> i32 {
    let id = token.text().ok().and_then(|token| (*tokenizer).parsing.token_to_id(token));
    id.map_or(-1, |id| id as i32)
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_tokenizer_added_tokens(
    tokenizer: *const OckhamTokenizer,
    out: *mut OckhamBytes,
) -> *mut c_char {
    guarded(|| {
        let mut added: Vec<_> = (*tokenizer).parsing.get_added_tokens_decoder().into_iter().collect();
        added.sort_by_key(|(id, _)| *id);
        let list: Vec<_> = added
            .into_iter()
            .map(|(id, token)| serde_json::json!({"id": id, "content": token.content, "special": token.special}))
            .collect();
        *out = OckhamBytes::new(serde_json::to_vec(&list).map_err(explain)?);
        Ok(())
    })
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_tokenizer_mark_special(
    tokenizer: *mut OckhamTokenizer,
    token: OckhamText,
) -> *mut c_char {
    guarded(|| {
        let this = &mut *tokenizer;
        let token = token.text()?;
        if this.parsing.token_to_id(token).is_some() {
            this.parsing.add_special_tokens([AddedToken::from(token, true)]).map_err(explain)?;
            this.literal = OnceLock::new();
        }
        Ok(())
    })
}
