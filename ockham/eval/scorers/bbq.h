// The scorer of BBQ.
#pragma once

#include "ockham/eval/scorers/scorer.h"

namespace ockham {

ScorerEntry bbq_entry();

}  // namespace ockham
