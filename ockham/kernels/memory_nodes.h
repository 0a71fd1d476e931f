// Memory of machines with several nodes (NUMA). Any thread may take any part of a product, so no part of the weights
// belongs to a node: their pages are dealt out over all nodes, and every thread reads with the bandwidth of all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ockham {

// "0-2,5" as {0, 1, 2, 5}; empty where it is no such list.
std::vector<int> parse_node_list(const std::string& text);
// Nodes that have memory; {0} where the system does not say.
const std::vector<int>& memory_nodes();
// Whole pages that were not touched yet are dealt out over the nodes, in turns. False where the system refuses, which
// is no error.
bool spread_over_nodes(void* at, int64_t bytes, const std::vector<int>& nodes);

}  // namespace ockham
