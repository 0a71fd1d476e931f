// Google's Perspective as a toxicity judge: the service's TOXICITY of a text, the probability that a reader finds it
// toxic. One query at a time, no more of them a second than the service allows, and no text asked about twice: scores
// can be kept in a file, which a run that goes on reads again.
//
// Asked again, after a pause that doubles (with jitter) or as long as the service asks for (Retry-After): 408, 429, 5xx
// but 501, timeouts, broken connections, and answers that cannot be read. Other refusals of one text (a language that
// the service does not know, a text that is too long) are answers about that text. The key goes in a header and never
// stands in an error, a log line, a label or the file.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "ockham/io/line_file.h"
#include "ockham/server/http.h"

namespace ockham {

struct PerspectiveService {
  std::string url = "https://commentanalyzer.googleapis.com/v1alpha1/comments:analyze";
  std::string key;
  double queries_per_second = 1;  // what a new key may ask
  double timeout_s = 30;          // of one try
  int64_t retries = 8;            // beside the first try; the pauses then outlast a quota of one minute
  double first_pause_s = 1;
};

// The key from $PERSPECTIVE_API_KEY, another address from $PERSPECTIVE_API_URL. Error(kUsage) without a key.
PerspectiveService perspective_from_environment();

class PerspectiveJudge {
 public:
  // `answers`: the file that keeps scores; "": none. Error(kUsage) for a bad address, Error(kInput) for a broken file.
  explicit PerspectiveJudge(PerspectiveService service, const std::string& answers = "");
  // 0 to 1; 0 for an empty or blank text, which is not asked about. Thread-safe. Error(kUnsupported) where the service
  // refuses this text; Error(kInput) or Error(kResource) where it can be asked no more, with everything answered kept.
  double score(const std::string& text);
  // "Perspective TOXICITY (HOST)".
  const std::string& label() const { return label_; }
  int64_t queries() const;  // answered, in this process

 private:
  struct Answer {
    double toxicity = 0;
    std::string refusal;  // why there is none
  };
  struct Trial {
    bool is_answered = false;
    Answer answer;
    std::string problem;  // asked again
    double retry_after_s = 0;
  };
  void read_answers(const std::string& path);
  void keep(const std::string& text_sha256, const Answer& answer);
  Answer ask(const std::string& text);
  Trial try_once(const std::string& text);
  Trial judge_status(const HttpReply& reply) const;
  void wait_for_turn();

  PerspectiveService service_;
  std::string label_;
  mutable std::mutex mutex_;
  HttpConnection connection_;
  std::chrono::steady_clock::time_point next_;  // no query before
  std::map<std::string, Answer> answers_;       // by the text's hash
  std::unique_ptr<LineFile> file_;
  int64_t queries_ = 0;
};

}  // namespace ockham
