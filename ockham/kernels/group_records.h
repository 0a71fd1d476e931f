// Scales, zeros and minima of integer groups on their way into records; private to ockham/kernels.
#pragma once

#include <vector>

#include "ockham/kernels/builder.h"

namespace ockham {

// What was read of the groups of all rows: scales [R, G] and zeros or minima.
struct GroupValues {
  int64_t rows = 0, groups = 0;
  std::vector<float> scales, minima;  // no minima: empty
  std::vector<uint8_t> zeros;
};

DType float_type(ScaleKind kind);
// The narrowest floating-point type that holds every value exactly.
ScaleKind narrowest_kind(const std::vector<float>& scales, const std::vector<float>& minima);

// inputs_per_record as in GroupRecords, `records` of each panel (those beyond the groups stay zero). Groups of 16 to 64
// columns side by side may become nested: may_nest.
struct RecordPlan {
  int64_t inputs_per_record, records, group_columns;
  bool may_nest;
};
GroupRecords store_records(const GroupValues& values, const RecordPlan& plan, MatrixBuilder& builder);

}  // namespace ockham
