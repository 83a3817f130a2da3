// Ahead of time: functions written as an object file and a C header, for programs that link
// neither Kroton nor anything it needs.
#pragma once
#include <kroton/function.h>

#include <functional>
#include <string>
#include <vector>

namespace kroton::aot {

// What is written, and where. updates, givens and on_unused_input are those of FunctionOptions.
struct Options {
  std::vector<Update> updates = {};
  std::vector<Given> givens = {};
  // The name of the C function and of the files: letters, digits and underscores, no word of C or
  // C++, no leading and no double underscore.
  std::string name = {};
  // Where NAME.o and NAME.h go. Made if it does not exist; its parent must.
  std::string directory = ".";
  // The processor: "native" (this one), "x86-64-v2", "x86-64-v3", "x86-64-v4" or "aarch64". The
  // system is Linux on all of them.
  std::string target = "native";
  // Whether the function runs on several threads: it then takes a context, which the library
  // kroton::aot_runtime makes (<kroton/aot_runtime.h>). Results do not depend on it.
  bool threads = false;
  // Whether the object holds the values that the shared variables have now.
  bool initial_values = true;
  // The C names of the outputs; "output", or "output0", "output1" and so on, where not given.
  std::vector<std::string> output_names = {};
  UnusedInput on_unused_input = UnusedInput::error;
  // As in FunctionOptions: whether a * b + c is rounded once, and how convolutions are computed.
  bool contract = false;
  Winograd winograd = Winograd::environment;
};

// The paths of what was written.
struct Files {
  std::string object;
  std::string header;
};

// Writes the function of `inputs` that kt::function would compile, as DIRECTORY/NAME.o and .h. The
// header documents the C functions that the object defines. Both files appear, or none.
//
// Errors: those of kt::function when it compiles; ValueError for a name, or an output's name, that
// C does not allow; DeviceError for a target that is none of those above; IoError, with the file
// and the system's reason, when the files cannot be written.
Files write(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
            const Options& options,
            const std::source_location& at = std::source_location::current());
Files write(const std::vector<Tensor>& inputs, const Tensor& output, const Options& options,
            const std::source_location& at = std::source_location::current());
// The same for a vector of shared variables, for example.
template <TensorRange Outputs>
Files write(const std::vector<Tensor>& inputs, const Outputs& outputs, const Options& options,
            const std::source_location& at = std::source_location::current()) {
  return write(inputs, std::vector<Tensor>(outputs.begin(), outputs.end()), options, at);
}
// Updates only.
Files write(const std::vector<Tensor>& inputs, const Options& options,
            const std::source_location& at = std::source_location::current());

// A build step that writes functions, as kroton_add_function() in CMake runs it: it says where they
// go and for which processor, the program what they compute.
class Generator {
 public:
  // Reads [--directory DIR] [--target TARGET] [--threads] [--functions NAME...]. ValueError for
  // anything else.
  Generator(int argc, const char* const* argv);

  // aot::write with the directory, the target and the threads of the command line in place of
  // those of `options`. ValueError for a name that --functions does not list.
  Files write(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
              Options options, const std::source_location& at = std::source_location::current());
  Files write(const std::vector<Tensor>& inputs, const Tensor& output, Options options,
              const std::source_location& at = std::source_location::current());
  Files write(const std::vector<Tensor>& inputs, Options options,
              const std::source_location& at = std::source_location::current());

  // ValueError unless everything that --functions lists has been written.
  void finish() const;

 private:
  Options where_;
  bool any_function_ = true;  // no --functions
  std::vector<std::string> wanted_;
  std::vector<std::string> written_;
};

// The main function of a build step: runs `body`, then finish(). An error is printed; returns the
// exit status.
//   int main(int argc, char** argv) {
//     return kt::aot::generate(argc, argv, [](kt::aot::Generator& to) {
//       auto x = kt::vector("x");
//       to.write({x}, kt::sum(x * x), {.name = "sum_of_squares"});
//     });
//   }
int generate(int argc, const char* const* argv, const std::function<void(Generator&)>& body);

}  // namespace kroton::aot
