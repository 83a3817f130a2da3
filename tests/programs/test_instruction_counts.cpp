// How many instructions five workloads take, against known counts: code that got slower shows
// without a clock. The workloads are written ahead of time for one processor, the widest that
// valgrind knows, and run under it, so that the counts do not depend on the machine.
#include <doctest/doctest.h>

#include <cctype>
#include <cstdlib>
#include <map>
#include <sstream>

#include "compiler/codegen/llvm/jit.h"
#include "tests/aot/aot_tools.h"
#include "tests/tools/golden.h"
#include "tests/tools/left_out.h"

using namespace aot_tools;

namespace {

using Counts = std::map<std::string, double>;

// More than this is a regression; as little as the least and the count guards nothing any more.
constexpr double most = 1.15;
constexpr double least = 0.70;

// A function to write, and its arguments in a C program: sizes, inputs and outputs.
struct Workload {
  std::vector<kt::Tensor> inputs;
  kt::Tensor output;
  std::vector<kt::Shared> trained;  // by steps along the gradient of the output
  std::string sizes, arguments;
};

kt::Shared weights(const std::string& name, const kt::Shape& shape) {
  static std::uint64_t seed = 0;
  return kt::shared(kt::Array::normal(shape, ++seed, 0, 0.1), name);
}

Workload classifier_step() {
  const auto images = kt::tensor("images", {kt::dim("batch"), 784});
  const auto labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  const auto w1 = weights("w1", {784, 64}), b1 = weights("b1", {64});
  const auto w2 = weights("w2", {64, 10}), b2 = weights("b2", {10});
  const auto logits = kt::dot(kt::relu(kt::dot(images, w1) + b1), w2) + b2;
  return {{images, labels},
          kt::mean(kt::softmax_cross_entropy(logits, labels)),
          {w1, b1, w2, b2},
          "50",
          "numbers, classes"};
}

Workload logistic_step() {
  const auto x = kt::tensor("x", {kt::dim("points"), 20});
  const auto y = kt::tensor("y", {kt::dim("points")});
  const auto w = weights("w", {20}), b = weights("b", {});
  const auto p = kt::sigmoid(kt::dot(x, w) + b);
  const auto loss = -kt::mean(y * kt::log(p) + (1 - y) * kt::log(1 - p));
  return {{x, y}, loss, {w, b}, "1000", "numbers, numbers"};
}

Workload recurrent_step() {
  const auto x = kt::tensor("x", {kt::dim("steps"), 32});
  const auto wx = weights("wx", {32, 32}), wh = weights("wh", {32, 32});
  const auto states = kt::scan(
      [](kt::Tensor row, kt::Tensor state, kt::Tensor w) {
        return kt::tanh(row + kt::dot(state, w));
      },
      {.sequences = {kt::dot(x, wx)}, .outputs_info = {kt::zeros({32})}, .non_sequences = {wh}});
  return {{x}, kt::mean(kt::square(states)), {wx, wh}, "100", "numbers"};
}

Workload softmax_of_rows() {
  const auto x = kt::tensor("x", {kt::dim("rows"), kt::dim("columns")});
  return {{x}, kt::softmax(x), {}, "50, 1003", "numbers"};
}

Workload elementwise() {
  const kt::Dim n = kt::dim("n");
  const auto x = kt::tensor("x", {n}), y = kt::tensor("y", {n});
  return {{x, y},
          kt::tanh(x * y + 1) * kt::exp(-x * x) + y / 2 - x * kt::maximum(y, 0),
          {},
          "50003",
          "numbers, numbers + 11"};
}

// The instructions of one call. valgrind counts while `measured` runs.
double count_instructions(const std::string& name, const Workload& workload) {
  const TemporaryDirectory directory;
  std::vector<kt::Update> updates;
  if (!workload.trained.empty()) {
    const std::vector<kt::Tensor> wrt(workload.trained.begin(), workload.trained.end());
    const std::vector<kt::Tensor> gradients = kt::grad(workload.output, wrt);
    for (std::size_t k = 0; k < wrt.size(); ++k) {
      updates.push_back({workload.trained[k], wrt[k] - 0.1 * gradients[k]});
    }
  }
  const kt::aot::Files files = kt::aot::write(
      workload.inputs, workload.output,
      {.updates = updates, .name = name, .directory = directory.path(), .target = "x86-64-v3"});
  std::ostringstream program;
  program << "#include <stdlib.h>\n#include \"" << name << ".h\"\n"
          << "static float numbers[60000], result[60000];\nstatic int64_t classes[64];\n";
  if (!updates.empty()) program << "static " << name << "_state state;\n";
  program << "int measured(void* arena, size_t bytes) {\n  return " << name << "(" << workload.sizes
          << ", " << workload.arguments << (updates.empty() ? "" : ", &state")
          << ", result, arena, bytes);\n}\n"
          << "int main(void) {\n"
          << "  for (int k = 0; k < 60000; ++k) numbers[k] = (float)(k * 7919 % 1009) / 1009;\n"
          << "  for (int k = 0; k < 64; ++k) classes[k] = k % 10;\n"
          << "  const size_t bytes = " << name << "_arena_bytes(" << workload.sizes
          << ") / 64 * 64 + 64;\n";
  if (!updates.empty()) {
    std::string bytes = name + "_STATE_BYTES";
    for (char& c : bytes) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    program << "  if (" << name << "_state_init(&state, aligned_alloc(64, " << bytes
            << ")) != 0) return 1;\n";
  }
  program << "  return measured(aligned_alloc(64, bytes), bytes);\n}\n";
  write_file(directory.file("main.c"), program.str());
  run_well(places::c_compiler() + " -std=c11 -O0 -Wall -Wextra -Werror -o " +
           directory.file("main") + " " + directory.file("main.c") + " " + files.object + " -lm");
  const std::string report =
      run_well("valgrind --tool=callgrind --toggle-collect=measured --callgrind-out-file=" +
               directory.file("profile") + " " + directory.file("main"));
  const std::string label = "Collected :";
  const std::size_t at = report.find(label);
  REQUIRE_MESSAGE(at != std::string::npos, report);
  const double count = std::strtod(report.c_str() + at + label.size(), nullptr);
  REQUIRE_MESSAGE(count > 1000, report);
  return count;
}

std::string to_text(const Counts& counts) {
  std::ostringstream text;
  text.precision(12);
  for (const auto& [name, count] : counts) text << name << ' ' << count << '\n';
  return text.str();
}

}  // namespace

TEST_CASE("instruction counts of five workloads are near the known ones") {
  const std::string test = "instruction counts";
  if (kt::codegen::host_target().machine.vector_bytes < 32) {
    return leave_out(test, "this processor is no x86-64-v3");
  }
  if (run("command -v valgrind").status != 0) {
    return leave_out(test, "there is no valgrind here (Debian: valgrind)");
  }
  Counts counts;
  counts["classifier_step"] = count_instructions("classifier_step", classifier_step());
  counts["logistic_step"] = count_instructions("logistic_step", logistic_step());
  counts["recurrent_step"] = count_instructions("recurrent_step", recurrent_step());
  counts["softmax_of_rows"] = count_instructions("softmax_of_rows", softmax_of_rows());
  counts["elementwise"] = count_instructions("elementwise", elementwise());
  if (is_updating_golden()) return update_golden("known counts", to_text(counts));
  std::istringstream known_counts(R"golden(
classifier_step 1435742
elementwise 453528
logistic_step 43000
recurrent_step 182877
softmax_of_rows 271854
)golden");
  std::string name;
  for (double known = 0; known_counts >> name >> known; counts.erase(name)) {
    REQUIRE_MESSAGE(counts.count(name) == 1, name);
    const double ratio = counts[name] / known;
    CHECK_MESSAGE(ratio < most, name, " takes ", counts[name], " instructions, ", known,
                  " before. If there is a reason for it: bash tests/run --update-golden");
    CHECK_MESSAGE(ratio > least, name, " takes ", counts[name], " instructions, ", known,
                  " before. To hold on to that: bash tests/run --update-golden");
  }
  CHECK_MESSAGE(counts.empty(), "no known count of these:\n", to_text(counts),
                "write them with bash tests/run --update-golden");
}
