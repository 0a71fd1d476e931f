#include "ockham/search/dense_walk.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "ockham/core/progress.h"
#include "ockham/pipeline/block_run.h"
#include "ockham/pipeline/compress.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"

namespace ockham {

void walk_dense(const DenseWalk& walk, int64_t last) {
  const at::NoGradGuard no_grad;
  const ThreadLimit threads(walk.checkpoint.config());
  const DType arithmetic = arithmetic_dtype(walk.checkpoint.config().dtype, at::kCPU);
  const auto frame = walk.checkpoint.read_frame(arithmetic, false);
  const Tensor hidden = frame->embed(walk.ids);
  BlockContext context = frame->make_context(1, walk.ids.size(1), nullptr, {});
  const int64_t samples = hidden.size(0), step = std::max<int64_t>(1, kTokensPerForward / hidden.size(1));
  for (int64_t index = 0; index <= last; ++index) {
    const Block block = walk.checkpoint.read_block(index, arithmetic);
    StatisticsCollector statistics(walk.needs);
    context.observer = walk.is_wanted(index) ? &statistics : nullptr;
    for (int64_t begin = 0; begin < samples; begin += step) {
      check_interrupt();
      Tensor part = hidden.narrow(0, begin, std::min(step, samples - begin));
      part.copy_(block.forward(part, context));
    }
    statistics.close();
    walk.take(block, statistics);
  }
}

}  // namespace ockham
