// `ockham-run bench ...`
#pragma once

namespace ockham {

// argv[0] is the word "bench". The exit code.
int bench_main(int argc, char** argv);

}  // namespace ockham
