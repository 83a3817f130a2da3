// Mistakes that the C++ compiler finds: what it says first is short, and has a sentence that tells
// what to write instead. Each is compiled on its own, after all headers, which are compiled once.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <sstream>
#include <string>
#include <vector>

#include "tests/aot/aot_tools.h"
#include "tests/tools/left_out.h"

namespace {

struct Mistake {
  const char* code;
  const char* sentence;
};

// In a function of these parameters.
const char* const start =
    "namespace kt = kroton;\n"
    "void program(kt::Tensor x, kt::Tensor y, kt::Tensor loss, kt::Shared w, kt::Array a,\n"
    "             kt::Function<1> f) {\n";

const std::vector<Mistake> mistakes = {
    // Reductions.
    {"kt::sum(x, 0, 2);", "several axes are one list: sum(x, {0, 2})"},
    {"kt::argmax(x, 0, 1);", "several axes are one list: sum(x, {0, 2})"},
    {"kt::sum(x, true);", "keepdims follows the axes: sum(x, {}, true)"},
    {"kt::mean(x, 0.5);", "an axis is an int"},
    // Comparisons are no conditions.
    {"if (x < y) {}", "not known before a call: where(mask, x, y), ifelse"},
    {"if (kt::eq(x, y)) {}", "not known before a call: where(mask, x, y), ifelse"},
    {"if (x == y) {}", "eq(x, y); array_equal(x, y) of Arrays"},
    {"bool b = a == a;", "eq(x, y); array_equal(x, y) of Arrays"},
    {"auto z = x != 0;", "ne(x, y)"},
    {"auto z = (x < y) && (y < 1);", "write x & y"},
    {"auto z = (x < y) || (y < 1);", "write x | y"},
    // Operands.
    {"auto z = x * x.shape(0);", "a size as a number is kt::size_of_dim(size)"},
    {"auto z = x + std::vector<float>{1, 2};", "a constant is an Array: kt::Array::from(values)"},
    {"auto s = kt::shared({1.0F, 2.0F});", "take kt::Array::from({...})"},
    // Functions.
    {"kt::function(x, y);", "inputs are a list: kt::function({x}, y)"},
    {"kt::function({x}, 1.0);", "an output is a Tensor"},
    {"kt::function({x}, {.updates = {{x, y}}});", "what is updated is a kt::shared variable"},
    {"kt::grad(loss);", "with respect to what: grad(cost, w)"},
    // Calls.
    {"f(x);", "an argument of a call is a kt::Array, a number, or a vector of bool"},
    {"f(std::vector<kt::Array>{a, a});", "a list of all arguments goes to f.call()"},
    {"f(std::vector<long double>{1, 2});", "a vector of bool, integers of"},
    {"f.memory(x);", "an argument of a call is a kt::Array"},
    {"std::vector<float> out(3); f.into(out)(a);", "results are written into kt::Arrays"},
    // Steps.
    {"kt::scan([](float row, kt::Tensor s) { return s + row; },"
     " {.sequences = {x}, .outputs_info = {0.0}});",
     "each argument of a step is a kt::Tensor (or auto)"},
    {"kt::map([](double row) { return row; }, {x});", "each argument of a step is a kt::Tensor"},
    {"kt::foldl([](kt::Tensor row, float s) { return s + row; }, {x}, 0.0);",
     "each argument of a step is a kt::Tensor"},
    {"kt::scan([](auto row) { return std::pair{row, std::string()}; }, {.sequences = {x}});",
     "a step returns a kt::Tensor or a number, a pair, tuple or array of them"},
    {"kt::scan([](kt::Tensor row) { (void)row; }, {.sequences = {x}});",
     "a step returns a kt::Tensor or a number"},
    {"kt::foldl([](auto row, auto s) { return std::pair{s, row}; }, {x}, 0.0);",
     "the step of a fold returns the next value"},
    // Elements of arrays.
    {"auto b = kt::Array::from(std::vector<long double>{1});", "convert the elements first"},
    {"auto b = kt::Array::from({\"a\", \"b\"});", "an Array is made of numbers"},
    {"auto s = a.data();", "name the type of the elements: a.data<float>()"},
    {"auto s = a.data<long double>();",
     "elements are bool, std::int8_t ... std::uint64_t, kt::float16"},
    {"float v = a.item();", "name the type of the element: a.item<float>()"},
    {"a.row(1) = a.row(0);", "elements are copied by a.row(i).assign(values)"},
    // What would read freed memory.
    {"std::span<float> s = f(a).data<float>();", "name the elements first"},
    {"std::span<const float> s = f(a).data<float>();", "name the elements first"},
    {"const float* p = f(a).data<float>().data();", "name the elements first"},
    {"auto p = f(a).data<float>().begin();", "name the elements first"},
};

// From the start to the second error.
std::string first_message(const std::string& output) {
  std::istringstream lines(output);
  std::string line, text;
  for (int errors = 0; std::getline(lines, line);) {
    errors += line.find(" error: ") != std::string::npos ? 1 : 0;
    if (errors == 2) break;
    text += line + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("compile errors: what the compiler says first is short and tells what to write") {
  const std::string compiler = places::cxx_compiler();
  if (aot_tools::run(compiler + " --version").output.find("Free Software") == std::string::npos) {
    leave_out("compile errors", "the messages are those of g++, the compiler is " + compiler);
    return;
  }
  const TemporaryDirectory directory;
  const std::string headers = directory.path() + "/headers.h";
  std::string includes;
  for (const char* folder : {"runtime", "compiler", "frontend"}) {
    includes += " -I " + places::source_dir() + "/" + std::string(folder) + "/include";
  }
  aot_tools::write_file(headers, "#include <kroton/kroton.h>\n");
  const std::string command = compiler + " -std=c++20" + includes;
  aot_tools::run_well(command + " -x c++-header " + headers + " -o " + headers + ".gch");
  const auto output_of = [&](std::size_t k, const std::string& code) {
    const std::string file = directory.path() + "/mistake" + std::to_string(k) + ".cpp";
    aot_tools::write_file(file, start + code + "\n}\n");
    return aot_tools::run(command + " -include " + headers + " -fsyntax-only " + file);
  };
  // Without a mistake it compiles: what fails below is the mistake.
  const auto good = output_of(mistakes.size(), "for (float v : f(a).data<float>()) (void)v;");
  REQUIRE_MESSAGE(good.status == 0, good.output);

  std::vector<aot_tools::Outcome> outcomes(mistakes.size());
  const auto compile_every_second = [&](std::size_t k) {
    for (; k < mistakes.size(); k += 2) outcomes[k] = output_of(k, mistakes[k].code);
  };
  auto half = std::async(std::launch::async, compile_every_second, 1);
  compile_every_second(0);
  half.get();
  for (std::size_t k = 0; k < mistakes.size(); ++k) {
    CAPTURE(mistakes[k].code);
    const std::string message = first_message(outcomes[k].output);
    CAPTURE(message);
    CHECK(outcomes[k].status != 0);
    CHECK(message.find(mistakes[k].sentence) != std::string::npos);
    CHECK(std::count(message.begin(), message.end(), '\n') <= 16);
  }
}
