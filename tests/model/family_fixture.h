// The tiny models of tests/model/families beside what tests of the workshop half need.
#pragma once

#include "tests/model/family_files.h"
#include "tests/model/model_fixture.h"
