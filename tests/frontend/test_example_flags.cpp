// How the examples read their options.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "examples/common/flags.h"
#include "tests/tools/error_text.h"

using namespace error_text;  // NOLINT: tests

namespace {

struct Settings {
  std::string data = "here", first = "a.svg", second = "b.svg";
  int epochs = 5, characters = 300;
  double rate = 0.1;
  bool resume = false;
  kroton::Target target = kroton::cpu();
};

Settings parsed(std::vector<std::string> arguments) {
  Settings s;
  arguments.insert(arguments.begin(), "build/examples/some");
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  flags::parse(static_cast<int>(pointers.size()), pointers.data(),
               {{"--data", &s.data},
                {"--epochs", &s.epochs},
                {"--characters", &s.characters, /*least=*/0},
                {"--rate", &s.rate},
                {"--resume", &s.resume},
                {"--target", &s.target},
                {"FIRST", &s.first},
                {"SECOND", &s.second}});
  return s;
}

}  // namespace

TEST_CASE("examples: options") {
  CHECK(parsed({}).epochs == 5);
  const Settings s =
      parsed({"one.svg", "--epochs", "3", "--resume", "--rate", "1e-3", "--characters", "0",
              "--data", "--there", "two.svg", "--target", "cuda"});
  CHECK(s.epochs == 3);
  CHECK(s.characters == 0);
  CHECK(s.rate == 1e-3);
  CHECK(s.resume);
  CHECK(s.data == "--there");
  CHECK(s.first == "one.svg");
  CHECK(s.second == "two.svg");
  CHECK(s.target.kind == kroton::Target::Kind::cuda);
}

TEST_CASE("examples: options that cannot be") {
  const auto error = [](const std::vector<std::string>& arguments) {
    return value_error([&] { parsed(arguments); });
  };
  const std::string known =
      "; there are --data, --epochs, --characters, --rate, --resume, --target, FIRST, SECOND";
  CHECK(error({"--epoch", "3"}) == "some: --epoch is no option" + known);
  CHECK(error({"a", "b", "c"}) == "some: c is no option" + known);
  CHECK(error({"--epochs"}) == "some: --epochs takes a value");
  for (const char* value : {"0", "-1", "x", "", "3x", "3.5", "99999999999"}) {
    CHECK(error({"--epochs", value}) ==
          "some: --epochs takes a whole number of at least 1, not '" + std::string(value) + "'");
  }
  for (const char* value : {"0", "-1", "x", "", "nan", "inf", "1.5e"}) {
    CHECK(error({"--rate", value}) ==
          "some: --rate takes a number above 0, not '" + std::string(value) + "'");
  }
  CHECK(error({"--target", "tpu"}) == "some: --target is cpu or cuda, not tpu");
  CHECK(flags::run(0, nullptr, {}, [] { return 7; }) == 7);
}
