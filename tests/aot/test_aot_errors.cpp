// What ahead-of-time output refuses, and that it leaves no file behind then.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "tests/aot/aot_tools.h"

namespace test_aot_errors {

using namespace aot_tools;

namespace {

const kt::Tensor x = kt::tensor("x", {kt::dim("n")});

template <class E>
std::string message_of(const kt::aot::Options& options) {
  try {
    kt::aot::write({x}, kt::sum(x), options);
  } catch (const E& error) {
    return error.what();
  }
  FAIL("nothing was thrown");
  return "";
}

bool begins(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

}  // namespace

TEST_CASE("aot errors: an unknown target") {
  const TemporaryDirectory directory;
  CHECK(
      message_of<kt::DeviceError>(
          {.name = "f", .directory = directory.path(), .target = "pentium"}) ==
      "there is no target \"pentium\"; the targets are native, x86-64-v2, x86-64-v3, x86-64-v4 and "
      "aarch64");
  CHECK(directory.names().empty());
}

TEST_CASE("aot errors: a name that C does not allow") {
  const TemporaryDirectory directory;
  for (const char* name : {"", "train step", "2fast", "a-b", "for", "class", "main", "_x", "a__b",
                           "caf\xc3\xa9", "../f"}) {
    CAPTURE(name);
    const std::string message =
        message_of<kt::ValueError>({.name = name, .directory = directory.path()});
    CHECK(begins(message,
                 "aot::write: \"" + std::string(name) + "\" cannot be the name of a C function"));
    CHECK(message.find("[test_aot_errors.cpp:") != std::string::npos);
  }
  CHECK(begins(message_of<kt::ValueError>(
                   {.name = "f", .directory = directory.path(), .output_names = {"int"}}),
               "aot::write: \"int\" cannot be the name of an output in C"));
  CHECK(begins(message_of<kt::ValueError>(
                   {.name = "f", .directory = directory.path(), .output_names = {"a", "b"}}),
               "aot::write: 2 output names for 1 outputs"));
  CHECK(directory.names().empty());
}

TEST_CASE("aot errors: a directory that cannot be written") {
  const TemporaryDirectory directory;
  CHECK(message_of<kt::IoError>({.name = "f", .directory = directory.file("a/b")}) ==
        "aot::write: cannot make the directory " + directory.file("a/b") +
            ": No such file or directory");
  write_file(directory.file("file"), "");
  CHECK(message_of<kt::IoError>({.name = "f", .directory = directory.file("file")}) ==
        "aot::write: " + directory.file("file") + " is not a directory");
  CHECK(begins(message_of<kt::IoError>({.name = "f", .directory = "/proc"}),
               "aot::write: cannot create /proc/f.o.part"));
  // One of the two files cannot take its name: the other one does not appear either.
  std::filesystem::create_directory(directory.file("f.h"));
  CHECK(message_of<kt::IoError>({.name = "f", .directory = directory.path()}) ==
        "aot::write: cannot write " + directory.file("f.h") + ": Is a directory");
  CHECK(directory.names() == std::vector<std::string>{"f.h", "file"});
}

TEST_CASE("aot errors: a disk that is full") {
  const TemporaryDirectory directory;
  // A limit on the size of files fails a write in the middle, as a full disk does.
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message = message_of<kt::IoError>({.name = "f", .directory = directory.path()});
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(begins(message, "aot::write: cannot write " + directory.file("f.o.part")));
  CHECK(message.find("File too large") != std::string::npos);
  CHECK(directory.names().empty());
}

TEST_CASE("aot errors: older files stay when new ones cannot be written") {
  const TemporaryDirectory directory;
  const kt::aot::Files files =
      kt::aot::write({x}, kt::sum(x), {.name = "f", .directory = directory.path()});
  const std::string object = read_file(files.object);
  const std::string header = read_file(files.header);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  CHECK_THROWS_AS(kt::aot::write({x}, kt::sum(2 * x), {.name = "f", .directory = directory.path()}),
                  kt::IoError);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(read_file(files.object) == object);
  CHECK(read_file(files.header) == header);
  CHECK(directory.names() == std::vector<std::string>{"f.h", "f.o"});
}

TEST_CASE("aot errors: what kt::function refuses") {
  const TemporaryDirectory directory;
  const auto unused = kt::scalar("unused");
  CHECK_THROWS_AS(
      kt::aot::write({x, unused}, kt::sum(x), {.name = "f", .directory = directory.path()}),
      kt::ValueError);
  CHECK_THROWS_AS(
      kt::aot::write({unused}, kt::sum(x), {.name = "f", .directory = directory.path()}),
      kt::ValueError);
  CHECK(directory.names().empty());
}

TEST_CASE("aot: a generator writes what its command line asks for") {
  const TemporaryDirectory directory;
  const std::string where = directory.path();
  const auto generate = [&](const std::vector<const char*>& arguments) {
    return kt::aot::generate(
        static_cast<int>(arguments.size()), arguments.data(),
        [](kt::aot::Generator& to) { to.write({x}, kt::sum(x), {.name = "total"}); });
  };
  CHECK(generate({"gen", "--directory", where.c_str(), "--target", "x86-64-v2", "--functions",
                  "total"}) == 0);
  CHECK(directory.names() == std::vector<std::string>{"total.h", "total.o"});
  CHECK(read_file(directory.file("total.h")).find("for x86-64-v2") != std::string::npos);
  CHECK(generate({"gen", "--directory", where.c_str(), "--threads"}) == 0);
  CHECK(read_file(directory.file("total.h")).find("struct kroton_context* context") !=
        std::string::npos);
  CHECK(generate({"gen", "--directory", where.c_str(), "--functions", "other"}) == 1);
  CHECK(generate({"gen", "--directory", where.c_str(), "--functions", "total", "more"}) == 1);
  CHECK(generate({"gen", "--fast"}) == 1);
  CHECK(generate({"gen", "--target"}) == 1);
}

}  // namespace test_aot_errors
