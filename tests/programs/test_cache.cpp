// Compiled functions from the on-disk cache.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>

#include "compiler/ir/graph.h"
#include "compiler/lower/cache_key.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "runtime/cache.h"
#include "tests/tools/cache_tools.h"
#include "tests/tools/places.h"

namespace kt = kroton;
using cache_test::entries;
using cache_test::Setting;

namespace {

// A training step with a product, a reduction, a gather and constants, on variables of its own.
struct Model {
  kt::Shared w = kt::shared(kt::Array::normal({7, 3}, 1), "w");
  kt::Function<1> train = make(w, 0.1);

  static kt::Function<1> make(const kt::Shared& w, double rate) {
    auto x = kt::matrix("x");
    auto ids = kt::vector("ids", kt::i64);
    auto loss = kt::mean(kt::square(kt::dot(x, w) - 1)) + kt::sum(kt::take(w, ids, 0)) * 0.01;
    return kt::function({x, ids}, loss, {.updates = {{w, w - rate * kt::grad(loss, w)}}});
  }
  kt::Array step() {
    const kt::Array ids = kt::Array::from(std::vector<std::int64_t>{3, 0, 6}, {3});
    return train(kt::Array::normal({17, 7}, 2), ids);
  }
};

kt::Program program_of(const kt::Tensor& input, const kt::Tensor& output,
                       const std::string& name = "f") {
  const std::vector<kt::Tensor> inputs{input}, outputs{output};
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  return kt::lower(graph, name, kt::x86_machine(32));
}

std::string key_of(const kt::Program& program, const std::vector<std::string>& target = {"cpu"}) {
  return kt::to_hex(kt::cache_key(program, target));
}

}  // namespace

TEST_CASE("cache: a function compiled once is found again") {
  const TemporaryDirectory directory;
  const Setting cache("KROTON_CACHE", directory.path());
  const std::int64_t before = kt::compilation_count();
  Model first;
  CHECK(kt::compilation_count() == before + 1);
  CHECK(entries(directory).size() == 1);
  Model second;
  CHECK(kt::compilation_count() == before + 1);
  for (int k = 0; k < 3; ++k) {
    CHECK(first.step().item<float>() == second.step().item<float>());
  }
  CHECK(kt::all_close(first.w.get_value(), second.w.get_value(), 0, 0));
  // The error of a check names this function's line, whoever compiled the code.
  const kt::Array wrong = kt::Array::from(std::vector<std::int64_t>{7}, {1});
  CHECK_THROWS_AS(second.train(kt::Array::normal({17, 7}, 2), wrong), kt::ValueError);
  const auto another = Model::make(first.w, 0.2);
  CHECK(kt::compilation_count() == before + 2);
  CHECK(entries(directory).size() == 2);
}

TEST_CASE("cache: off, every function is compiled") {
  const TemporaryDirectory directory;
  const Setting home("HOME", directory.path());
  const Setting xdg("XDG_CACHE_HOME", std::nullopt);
  const Setting cache("KROTON_CACHE", "off");
  const std::int64_t before = kt::compilation_count();
  Model first, second;
  CHECK(kt::compilation_count() == before + 2);
  CHECK(directory.names().empty());
}

TEST_CASE("cache: a damaged entry is compiled anew") {
  const TemporaryDirectory directory;
  const Setting cache("KROTON_CACHE", directory.path());
  Model first;
  const auto entry = entries(directory).at(0);
  std::filesystem::resize_file(entry, std::filesystem::file_size(entry) / 2);
  const std::int64_t before = kt::compilation_count();
  Model second;
  CHECK(kt::compilation_count() == before + 1);
  CHECK(first.step().item<float>() == second.step().item<float>());
  Model third;
  CHECK(kt::compilation_count() == before + 1);
}

TEST_CASE("cache: an object that is damaged under a right checksum is compiled anew") {
  const TemporaryDirectory directory;
  const Setting here("KROTON_CACHE", directory.path());
  Model first;
  const std::filesystem::path entry = entries(directory).at(0);
  kt::Digest key{};
  for (std::size_t k = 0; k < key.size(); ++k) {
    key[k] = static_cast<std::uint8_t>(
        std::stoi(entry.filename().string().substr(2 * k, 2), nullptr, 16));
  }
  const kt::Cache cache(directory.path(), 1 << 20);
  const std::string object = cache.load(key).value();
  std::string other_symbols = object;
  for (std::size_t at = 0; (at = other_symbols.find("kroton_entry", at)) != std::string::npos;) {
    other_symbols[at] = 'x';
  }
  for (const std::string& damaged :
       {std::string(), std::string("no object"), object.substr(0, 64),
        object.substr(0, object.size() / 2), std::string(object.size(), '\0'), other_symbols}) {
    REQUIRE(cache.store(key, damaged));
    const std::int64_t before = kt::compilation_count();
    Model again;
    CHECK(kt::compilation_count() == before + 1);
    Model reference;
    CHECK(kt::compilation_count() == before + 1);  // the fresh object has replaced the other
    CHECK(again.step().item<float>() == reference.step().item<float>());
  }
}

TEST_CASE("cache: a directory that others may write to costs a compilation, no error") {
  const TemporaryDirectory directory;
  const Setting here("KROTON_CACHE", directory.path());
  Model first;
  REQUIRE(entries(directory).size() == 1);
  std::filesystem::permissions(directory.path(), std::filesystem::perms::all);
  const std::int64_t before = kt::compilation_count();
  Model second;
  CHECK(kt::compilation_count() == before + 1);
  CHECK(first.step().item<float>() == second.step().item<float>());
}

TEST_CASE("cache: a directory that cannot be used is an IoError when a function is compiled") {
  const TemporaryDirectory directory;
  std::ofstream(directory.path() + "/file") << "x";
  const Setting cache("KROTON_CACHE", directory.path() + "/file");
  auto x = kt::vector("x");
  CHECK_THROWS_AS(kt::function({x}, x + 1), kt::IoError);
}

// The same test case plays both processes: the environment tells the second one that it is it.
TEST_CASE("cache: another process finds what this one compiled") {
  if (const char* compilations = std::getenv("KROTON_TEST_EXPECTED_COMPILATIONS")) {
    const Setting cache("KROTON_CACHE", std::getenv("KROTON_TEST_CACHE"));
    const std::int64_t before = kt::compilation_count();
    Model model;
    CHECK(kt::compilation_count() - before == std::atoi(compilations));
    return;
  }
  const TemporaryDirectory directory;
  const Setting cache("KROTON_CACHE", directory.path());
  const auto run_another = [&](const char* expected) {
    const Setting role("KROTON_TEST_EXPECTED_COMPILATIONS", expected);
    const Setting where("KROTON_TEST_CACHE", directory.path());
    const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    return std::system(("'" + self + "' -m -tc='cache: another process finds*' >&2").c_str());
  };
  CHECK(run_another("1") == 0);
  CHECK(entries(directory).size() == 1);
  CHECK(run_another("0") == 0);
  const std::int64_t before = kt::compilation_count();
  Model model;
  CHECK(kt::compilation_count() == before);
}

TEST_CASE("cache key: every change of the compiler's sources changes the compiler's id") {
  const TemporaryDirectory directory;
  const std::string root = directory.path();
  std::filesystem::create_directories(root + "/compiler/codegen");
  std::filesystem::create_directories(root + "/runtime");
  const auto write = [&](const std::string& file, const std::string& text) {
    std::ofstream(root + "/" + file) << text;
  };
  const auto id = [&] {
    const std::string command = "cmake -D ROOT='" + root + "' -D VERSION=1.2.3 -D OUTPUT='" + root +
                                "/id.cpp' -P '" + places::source_dir() +
                                "/compiler/compiler_id.cmake'";
    REQUIRE(std::system(command.c_str()) == 0);
    std::ifstream file(root + "/id.cpp");
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  write("compiler/codegen/emit.cpp", "int a;");
  write("runtime/abi.h", "struct s;");
  const std::string first = id();
  CHECK(first.find("return \"1.2.3 ") != std::string::npos);
  write("compiler/codegen/emit.cpp", "int b;");
  const std::string changed = id();
  CHECK(changed != first);
  write("compiler/codegen/emit.cpp", "int a;");
  CHECK(id() == first);
  write("runtime/abi.h", "struct t;");
  CHECK(id() != first);
  write("runtime/abi.h", "struct s;");
  write("compiler/codegen/more.h", "");
  CHECK(id() != first);
  CHECK(std::string(kt::compiler_id()).size() > 64);
}

TEST_CASE("cache key: names, lines and numbers of variables do not matter") {
  const auto make = [](const char* name) {
    const kt::Tensor x = kt::matrix(name);
    return key_of(program_of(x, kt::softmax(kt::relu(kt::dot(x, kt::transpose(x))), 1)));
  };
  const std::string key = make("x");
  CHECK(make("y") == key);
  const kt::Tensor z = kt::matrix("z");
  const kt::Tensor product = kt::dot(z, kt::transpose(z));
  CHECK(key_of(program_of(z, kt::softmax(kt::relu(product), 1))) == key);
}

TEST_CASE("cache key: sizes made in another order before do not matter") {
  const auto make = [](const kt::Dim& a, const kt::Dim& b) {
    const kt::Tensor x = kt::tensor("x", {a, b});
    return key_of(program_of(x, kt::concatenate({x, x}, 0) * 2));
  };
  const kt::Dim first = kt::Dim::fresh("first"), second = kt::Dim::fresh("second");
  const std::string key = make(first, second);
  CHECK(make(second, first) == key);
  // And before any function was compiled, when the number of workers is no size yet.
  CHECK(make(kt::Dim::fresh("third"), kt::Dim::fresh("fourth")) == key);
  CHECK(make(first, first) != key);
}

TEST_CASE("cache key: what the object depends on matters") {
  const kt::Tensor x = kt::matrix("x");
  const kt::Array ones = kt::Array::ones({3});
  kt::Array others = ones.copy();
  others.data<float>()[1] = 2;
  const auto key = [&](const kt::Tensor& y) { return key_of(program_of(x, y)); };
  const auto fixed = kt::tensor("x", {kt::dim("n"), 3});
  const std::vector<std::string> keys{
      key(x + 1),
      key(x + 2),
      key(x - 1),
      key(kt::sum(x, 0)),
      key(kt::sum(x, 1)),
      key_of(program_of(x, x + 1, "g")),
      key_of(program_of(x, x + 1), {"cuda"}),
      key_of(program_of(x, x + 1), {"cpu", "x86-64-v3"}),
      key_of(program_of(fixed, fixed + 1)),
      key_of(program_of(fixed, fixed + ones)),
      key_of(program_of(fixed, fixed + others)),
      key(kt::cast(x, kt::f64)),
  };
  for (std::size_t a = 0; a < keys.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      CAPTURE(a);
      CAPTURE(b);
      CHECK(keys[a] != keys[b]);
    }
  }
}
