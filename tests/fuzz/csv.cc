// CSV: every row has as many fields, and written with quotes it is read as the same rows.
#include "ockham/io/table.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  survives([&] { parse_csv(as_text(data, size), '\t', "fuzz"); });
  survives([&] {
    const std::vector<std::vector<std::string>> rows = parse_csv(as_text(data, size), ',', "fuzz");
    std::string text;
    for (const std::vector<std::string>& row : rows) {
      require(row.size() == rows[0].size());
      for (size_t i = 0; i < row.size(); ++i) {
        text += i > 0 ? ",\"" : "\"";
        for (const char c : row[i]) text += c == '"' ? std::string("\"\"") : std::string(1, c);
        text += '"';
      }
      text += '\n';
    }
    require(parse_csv(text, ',', "again") == rows);
  });
  return 0;
}
