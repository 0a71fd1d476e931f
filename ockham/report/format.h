// Numbers as readers see them: the same in every format.
#pragma once

#include <string>
#include <vector>

namespace ockham {

std::string points(double value);          // "61.3"
std::string signed_points(double value);   // "+2.1", "−12.0", "0.0" (true minus sign)
std::string bytes_text(double bytes);      // "1.13 MB" (10^6)
std::string percent(double share);         // 0.294 -> "29 %"
std::string seconds_text(double seconds);  // "4.2 s", "3:20 min"
std::string p_text(double p);              // "0.013", "< 0.001"
std::string joined(const std::vector<std::string>& texts, const std::string& separator = ", ");
std::string listed(const std::vector<std::string>& texts);                                      // "a, b and c"
std::string counted(long long n, const std::string& singular, const std::string& plural = "");  // "1 row", "3 rows"

}  // namespace ockham
