// Trains and writes the tokenizer files of a new model.
#include "ockham/train/vocabulary.h"

#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/text/tokenizer.h"

namespace ockham {
namespace {

constexpr const char* kChatTemplate =
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

}  // namespace

void write_vocabulary(std::span<const Document> documents, int64_t vocabulary, int64_t context_length,
                      const std::string& directory) {
  std::vector<std::string> texts;
  for (const Document& document : documents) {
    if (!document.text.empty()) texts.push_back(document.text);
    for (const ChatMessage& message : document.messages) texts.push_back(message.content);
  }
  train_tokenizer(texts, {vocabulary, SpecialTokens::names(), "<s>"}, directory);
  const SpecialTokens special;
  Json config;
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["bos_token"] = "<s>";
  config["eos_token"] = "</s>";
  config["pad_token"] = "</s>";
  config["add_bos_token"] = true;
  config["clean_up_tokenization_spaces"] = false;
  config["model_max_length"] = context_length;
  config["chat_template"] = kChatTemplate;
  write_file_atomically(directory + "/tokenizer_config.json", config.dump(2) + "\n");
  Json generation;
  generation["bos_token_id"] = special.begin_id;
  generation["eos_token_id"] = {special.stop_id, special.turn_end_id};
  generation["pad_token_id"] = special.stop_id;
  generation["do_sample"] = false;
  write_file_atomically(directory + "/generation_config.json", generation.dump(2) + "\n");
}

}  // namespace ockham
