// The fuzzer itself: every op can be drawn, what it prints is what it runs, what is wrong is seen.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "tests/aot/aot_tools.h"
#include "tests/fuzz/generator.h"
#include "tests/fuzz/shrink.h"

using namespace fuzz;  // NOLINT: tests

namespace {

Program program_of(const Generator& generator) {
  Program program = generator.program();
  program.main.results = {generator.last_value()};
  prune(program);
  return program;
}

// What is not drawn: systems of random matrices, whose solutions have errors of any size, and what
// they are expanded to; products with sparse matrices, whose pattern has constant sizes; Fourier
// transforms, whose lengths are constant; what random numbers are made of; exchanges of a group of
// devices and what is alike on them, which a group of one, all that a program has, gives as it is.
const std::set<std::string_view> not_drawn = {
    "cholesky",       "solve_triangular", "solve",       "determinant",  "pinv",
    "small_cholesky", "small_triangular", "small_solve", "small_pivots", "small_eigh",
    "small_svd",      "small_qr",         "sparse_dot",  "sampled_dot",  "gamma_deviate",
    "fourier",        "replicate"};

}  // namespace

TEST_CASE("fuzz: every op can be drawn") {
  std::set<const kt::OpRecord*> seen, seen_in_gradients;
  const auto note = [](const Generator& generator, std::set<const kt::OpRecord*>& ops) {
    for (const kt::Tensor& t : kt::topological_order(build(program_of(generator)).outputs)) {
      ops.insert(&t.node().op);
    }
  };
  for (const kt::OpRecord* op : kt::all_ops()) {
    if (op->draw == nullptr) continue;
    int gradients = 0;
    for (std::uint64_t seed = 0; seed < 300 && (!seen.contains(op) || gradients < 5); ++seed) {
      Generator generator(seed);
      if (!generator.try_operation(*op)) continue;
      note(generator, seen);
      if (op->vjp == nullptr || !generator.try_gradient()) continue;
      note(generator, seen_in_gradients);
      ++gradients;
    }
  }
  CHECK(seen.size() > 50);
  for (const kt::OpRecord* op : kt::all_ops()) {
    CAPTURE(op->name);
    const bool made_by_the_fuzzer = op->kind == kt::OpKind::leaf || kt::gives_results(op->kind) ||
                                    op->kind == kt::OpKind::result;
    const bool drawable = op->draw != nullptr;
    if (op->is_redrawn || op->carries_update) continue;  // calls change what they read
    if (made_by_the_fuzzer || not_drawn.contains(op->name)) {
      CHECK_FALSE(drawable);
    } else if (drawable) {
      CHECK(seen.contains(op));
    } else {  // an op that only gradients are made of
      CHECK(seen_in_gradients.contains(op));
    }
  }
}

TEST_CASE("fuzz: programs have loops in loops, gradients, updates, and depend on their seed only") {
  int nested = 0, gradients = 0, updates = 0, taps = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Program program = generate(seed);
    CHECK(cpp_text(program, {}) == cpp_text(generate(seed), {}));
    updates += program.updates.empty() ? 0 : 1;
    visit(program.main, [&](const Statement& s) {
      gradients += std::holds_alternative<Gradient>(s.what) ? 1 : 0;
      const auto* loop = std::get_if<Scan>(&s.what);
      if (!loop) return;
      for (const auto& list : loop->sequence_taps) taps += list.size() > 1 ? 1 : 0;
      visit(loop->body, [&](const Statement& inner) {
        nested += std::holds_alternative<Scan>(inner.what) ? 1 : 0;
      });
    });
  }
  CHECK(nested > 5);
  CHECK(gradients > 40);
  CHECK(updates > 5);
  CHECK(taps > 3);
}

TEST_CASE("fuzz: a printed program computes what the program computes") {
  // Few programs that have every operation among them, as one: compilers take long to begin.
  std::set<std::string> missing;
  std::vector<Program> programs;
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    const Program program = generate(seed);
    bool news = false;
    for (const std::string& name : operations(program)) {
      news = missing.insert(name).second || news;
    }
    if (news && check(program, {}).kind.empty()) programs.push_back(program);
  }
  CHECK(missing.size() > 60);
  const TemporaryDirectory directory;
  std::string text = "#include <kroton/kroton.h>\n#include <iostream>\n";
  std::string body;
  for (std::size_t k = 0; k < programs.size(); ++k) {
    std::string part = cpp_text(programs[k], {});
    part = part.substr(part.find("int main() {") + 4);
    text += (k == 0 ? "namespace kt = kroton;\n" : "") + std::string("void program") +
            std::to_string(k) + part.substr(4);
    body += "  try { program" + std::to_string(k) +
            "(); } catch (const kt::Error& error) { std::cout << \"error\\n\"; }\n";
  }
  text +=
      "int main() {\n  static std::ostream nowhere(nullptr);\n"
      "  kt::set_print_stream(nowhere);\n" +
      body + "}\n";
  aot_tools::write_file(directory.file("printed.cpp"), text);
  const std::string root = places::source_dir();
  const aot_tools::Outcome compiled = aot_tools::run(
      places::cxx_compiler() + " -std=c++20 -O0 -fsyntax-only -I " + root + "/runtime/include -I " +
      root + "/compiler/include -I " + root + "/frontend/include " + directory.file("printed.cpp"));
  CHECK_MESSAGE(compiled.status == 0, compiled.output);
}

TEST_CASE("fuzz: a value from a wrong index is seen, rounding is not") {
  const kt::Tensor x = kt::tensor("x", {17}, kt::f32);
  const kt::Tensor y = kt::exp(kt::sin(x)) / (1 + x * x);
  const kt::Array values = kt::Array::uniform({17}, 3, -1.5, 1.5, kt::f32);
  const Expected expected = expect({y}, {{&x.node(), kt::from_array(values)}}, 3, 1);
  kt::Array have = kt::to_array(expected.values[0]);
  Tally tally;
  CHECK(difference(expected.values[0], expected.bounds[0], have, tally) == "");
  have.data<float>()[5] *= 1 + 3e-7F;
  CHECK(difference(expected.values[0], expected.bounds[0], have, tally) == "");
  std::swap(have.data<float>()[3], have.data<float>()[4]);
  CHECK(difference(expected.values[0], expected.bounds[0], have, tally) != "");
  CHECK(tally.left_out == 0);
  have = kt::to_array(expected.values[0]);
  have.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK(difference(expected.values[0], expected.bounds[0], have, tally) != "");
}

TEST_CASE("fuzz: what hangs on rounding is not compared, what does not is") {
  const kt::Tensor x = kt::tensor("x", {3}, kt::f32);
  // The first two are equal but for rounding, the third is far off.
  const kt::Tensor thirds = kt::sin(x) / 3;
  const kt::Tensor position = kt::argmax(kt::stack({thirds[0], thirds[1]}), 0);
  const kt::Tensor far = kt::argmax(thirds, 0);
  const Expected expected = expect(
      {position, far},
      {{&x.node(), kt::from_array(kt::Array::from<float>({0.5F, 0.5F + 3e-8F, 1.5F}))}}, 20, 4);
  CHECK(std::isinf(expected.bounds[0][0]));
  CHECK(expected.bounds[1][0] == 0);
}

TEST_CASE("fuzz: a crash and an endless call are findings, and shrinking keeps what fails") {
  // The draw of a call that ends the process, or does not end, stands for such a compilation.
  const auto with = [](void (*fault)()) {
    Generator generator(3);
    while (!generator.try_operation(kt::op_named("exp"))) {
    }
    while (!generator.try_operation(kt::op_named("sum"))) {
    }
    Program program = program_of(generator);
    auto& call = std::get<Operation>(program.main.statements.back().what).call;
    call.apply = [fault, apply = call.apply](auto arguments, auto operands) {
      fault();
      return apply(arguments, operands);
    };
    return program;
  };
  const Program crashing = with([] { std::abort(); });
  CHECK(check_apart(crashing, {}, 60).kind == "crash");
  const Program endless = with([] {
    for (volatile bool go_on = true; go_on;) {
    }
  });
  CHECK(check_apart(endless, {}, 0.5).kind == "hang");
  const Program small = shrunk(crashing, "crash", {}, 60, 60);
  CHECK(small.main.statements.size() == 1);
}
