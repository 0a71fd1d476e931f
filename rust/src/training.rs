//! Training of a byte-level BPE.

use std::ffi::c_char;

use tokenizers::models::bpe::{BpeTrainerBuilder, BPE};
use tokenizers::models::TrainerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use crate::abi::{guarded, OckhamBytes, OckhamText};
use crate::tokenizer::explain;

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_tokenizer_train(
    texts: *const OckhamText,
    count: usize,
    specials: *const OckhamText,
    special_count: usize,
    bos: OckhamText,
    vocabulary: usize,
    out: *mut OckhamBytes,
) -> *mut c_char {
    guarded(|| {
        tokenizers::utils::parallelism::set_parallelism(false);
        let list = |data: *const OckhamText, count: usize| -> Result<Vec<&str>, String> {
            (0..count).map(|i| (*data.add(i)).text()).collect()
        };
        let texts = list(texts, count)?;
        let specials = list(specials, special_count)?;
        let least = ByteLevel::alphabet().len() + specials.len();
        if vocabulary < least {
            return Err(format!("a vocabulary of {vocabulary} is too small: bytes and special tokens alone are {least}"));
        }

        let trainer = BpeTrainerBuilder::new()
            .vocab_size(vocabulary)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(specials.iter().map(|s| AddedToken::from(s.to_string(), true)).collect())
            .build();
        let mut tokenizer = Tokenizer::new(BPE::default());
        let byte_level = ByteLevel::new(false, false, true);
        tokenizer.with_pre_tokenizer(Some(byte_level));
        tokenizer.with_decoder(Some(byte_level));
        let mut trainer = TrainerWrapper::from(trainer);
        tokenizer.train(&mut trainer, texts.into_iter()).map_err(explain)?;
        tokenizer.add_special_tokens(specials.iter().map(|s| AddedToken::from(s.to_string(), true))).map_err(explain)?;
        let bos = bos.text()?;
        if !bos.is_empty() {
            if !specials.contains(&bos) {
                return Err(format!("'{bos}' is not one of the special tokens"));
            }
            let id = tokenizer.token_to_id(bos).ok_or_else(|| format!("'{bos}' is not in the vocabulary"))?;
            let processor = TemplateProcessing::builder()
                .try_single(vec![bos.to_string(), "$A".to_string()])?
                .special_tokens(vec![(bos.to_string(), id)])
                .build()
                .map_err(explain)?;
            tokenizer.with_post_processor(Some(processor));
        }
        *out = OckhamBytes::new(tokenizer.to_string(true).map_err(explain)?.into_bytes());
        Ok(())
    })
}
