// `ockham serve`: a model behind the OpenAI API.
#include <memory>

#include "cli/commands.h"
#include "cli/serving/serve_options.h"
#include "ockham/core/error.h"

namespace ockham {

void add_serve_command(CLI::App& app) {
  auto arguments = std::make_shared<ServeArguments>();
  CLI::App* command = app.add_subcommand("serve", "Serve a model over HTTP, as the OpenAI API");
  add_serve_options(*command, *arguments);
  command->callback([arguments] {
    if (global_options().device != "cpu")
      throw_error(ErrorKind::kUsage, "serve runs on the processor; leave --device out");
    serve_model(*arguments);
  });
}

}  // namespace ockham
