// What a model answers that cannot do more.
#include "ockham/core/language_model.h"

#include "ockham/core/error.h"

namespace ockham {

std::unique_ptr<Distributions> LanguageModel::distributions(const std::vector<int32_t>&) {
  throw_error(ErrorKind::kUnsupported,
              "{}: gives no whole distributions over its vocabulary, which divergences between models need; compare "
              "scores instead, or use the model's own files",
              info().name);
}

}  // namespace ockham
