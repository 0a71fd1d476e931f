// The suite of BBQ.
#pragma once

#include "ockham/eval/suites/suite.h"

namespace ockham {

SuiteEntry bbq_suite();

}  // namespace ockham
