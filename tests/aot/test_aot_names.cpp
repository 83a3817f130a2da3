// Names from the user's program in headers, objects and the process: none breaks what it stands in.
#include <doctest/doctest.h>
#include <kroton/error.h>

#include <cstring>
#include <sstream>

#include "compiler/base/c_names.h"
#include "tests/aot/aot_tools.h"
#include "tests/tools/error_text.h"
#include "tests/tools/left_out.h"

using namespace aot_tools;

namespace {

// What comes before a header of ours in somebody's program.
std::string all_headers_of_c() {
  std::string text;
  for (const char* header :
       {"assert", "complex", "ctype",    "errno",       "fenv",   "float",   "inttypes",  "iso646",
        "limits", "locale",  "math",     "setjmp",      "signal", "stdarg",  "stdatomic", "stdbool",
        "stddef", "stdint",  "stdio",    "stdlib",      "string", "threads", "time",      "uchar",
        "wchar",  "wctype",  "stdalign", "stdnoreturn", "unistd"}) {
    text += "#include <" + std::string(header) + ".h>\n";
  }
  return text;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

bool is_reserved(const std::string& name) {
  return name[0] == '_' || name.find("__") != std::string::npos;
}

const std::string strict = " -Wall -Wextra -Wpedantic -Wshadow -Werror -c -o /dev/null ";

}  // namespace

TEST_CASE("aot names: every macro of C's headers is known") {
  const TemporaryDirectory directory;
  write_file(directory.file("all.c"), all_headers_of_c());
  for (const char* standard : {"-std=c99", "-std=c11", "-std=gnu17"}) {
    const std::string macros =
        run_well(places::c_compiler() + " " + standard + " -dM -E " + directory.file("all.c") +
                 " | sed -n 's/^#define \\([A-Za-z]\\w*[( ]\\).*/\\1/p'");
    const std::vector<std::string> words = words_of(macros);
    CHECK(words.size() > 500);
    for (std::string word : words) {
      const bool takes_arguments = word.back() == '(';
      if (takes_arguments) word.pop_back();
      if (is_reserved(word)) continue;
      CHECK_MESSAGE(!kroton::why_no_function(word).empty(), word);
      CHECK_MESSAGE((takes_arguments || kroton::is_c_word(word)), word);
    }
  }
}

TEST_CASE("aot names: no function is called as something that C's headers declare") {
  if (run_well(places::c_compiler() + " --version").find("clang") != std::string::npos) {
    leave_out("names that C's headers declare", "only GCC lists them");
    return;
  }
  const TemporaryDirectory directory;
  write_file(directory.file("all.c"), all_headers_of_c());
  // All functions, with their prototypes, and all types.
  run_well(places::c_compiler() + " -std=gnu17 -w -c -o /dev/null -aux-info " +
           directory.file("all.txt") + " " + directory.file("all.c"));
  const std::string functions = run_well("sed -n 's/^.* extern [^(]*[ *]\\(\\w\\w*\\) (.*/\\1/p' " +
                                         directory.file("all.txt"));
  const std::string types = run_well(
      places::c_compiler() + " -std=gnu17 -E " + directory.file("all.c") +
      " | tr '\\n' ' ' | tr ';' '\\n' | sed -n 's/^.*typedef [^({]* \\([a-zA-Z]\\w*\\)$/\\1/p'");
  CHECK(words_of(functions).size() > 900);
  CHECK(words_of(types).size() > 80);
  std::string missed;
  for (const std::string& word : words_of(functions + " " + types)) {
    if (!is_reserved(word) && kroton::why_no_function(word).empty()) missed += word + " ";
  }
  CHECK(missed == "");
}

TEST_CASE("aot names: parameters, sizes and states of any name, in any program") {
  const TemporaryDirectory directory;
  std::vector<kt::Tensor> inputs;
  kt::Tensor total = kt::sum(kt::ones({1}));
  int count = 0;
  for (const char* name : {"size_t",
                           "int64_t",
                           "int32_t",
                           "uint8_t",
                           "EOF",
                           "NULL",
                           "I",
                           "errno",
                           "stdin",
                           "linux",
                           "bool",
                           "true",
                           "class",
                           "this",
                           "f",
                           "f_state",
                           "f_error",
                           "exp",
                           "malloc",
                           "offsetof",
                           "state",
                           "arena",
                           "context",
                           "BATCH",
                           "SIGINT",
                           "M_PI",
                           "PRIu64",
                           "INT64_C",
                           "std",
                           "_x",
                           "a__b",
                           "3d",
                           "*/ int x;",
                           "/*",
                           "//",
                           "\\",
                           "?\?/",
                           "a\nb",
                           "\xff\xfe",
                           "gr\xc3\xb6\xc3\x9f"
                           "e",
                           "\xe2\x80\xae rtl",
                           "%s",
                           "\"",
                           "a*",
                           "/b"}) {
    // Each as a size, an input's name, and, for the first, a state's.
    inputs.push_back(kt::tensor(name, {kt::dim(name)}));
    total = total + kt::sum(inputs.back());
    ++count;
  }
  std::vector<kt::Update> updates;
  for (const char* name : {"size_t", "EOF", "class", "f_state", "float", "*/", "f"}) {
    const auto w = kt::shared(kt::Array::ones({1}), name);
    updates.push_back({w, w + total});
  }
  const kt::aot::Files files = kt::aot::write(
      inputs, total,
      {.updates = updates, .name = "f", .directory = directory.path(), .output_names = {"out"}});
  const std::string header = read_file(files.header);
  CAPTURE(header);
  CHECK(header.find("const float* size_t_,") != std::string::npos);
  CHECK(header.find("float* class_;") != std::string::npos);
  CHECK(header.find("gr\xc3\xb6\xc3\x9f"
                    "e") != std::string::npos);
  write_file(directory.file("plain.c"), "#include \"f.h\"\nint use(void);\n");
  write_file(directory.file("all.c"), all_headers_of_c() + "#include \"f.h\"\n#include \"f.h\"\n");
  write_file(directory.file("all.cpp"),
             "#include <cmath>\n#include <cstdio>\n#include <vector>\n#include <complex.h>\n"
             "#include <errno.h>\n#include <signal.h>\n#include \"f.h\"\nusing namespace std;\n"
             "int (*use)(int) = nullptr;\n");
  for (const char* standard : {"-std=c99", "-std=c11", "-std=gnu17"}) {
    const std::string compiler = places::c_compiler() + " " + standard + strict;
    run_well(compiler + directory.file("plain.c"));
    run_well(compiler + directory.file("all.c"));
  }
  for (const char* standard : {"-std=c++11", "-std=c++20"}) {
    run_well(places::cxx_compiler() + " " + standard + strict + directory.file("all.cpp"));
  }
  CHECK(Linked(files.object).has("f"));
  CHECK(count > 40);
}

TEST_CASE("aot names: sizes are shown under their names in C") {
  const TemporaryDirectory directory;
  // The name of one is part of the name of another, and of "min".
  const auto x = kt::tensor("x", {kt::dim("class"), kt::dim("i")});
  const auto y = kt::tensor("y", {kt::minimum(kt::dim("class"), kt::dim("i"))});
  const kt::aot::Files files =
      kt::aot::write({x, y}, kt::sum(x) + kt::sum(y), {.name = "f", .directory = directory.path()});
  const std::string header = read_file(files.header);
  CAPTURE(header);
  CHECK(header.find("float (class_, i); ") != std::string::npos);
  CHECK(header.find("float (min(class_, i)); ") != std::string::npos);
}

TEST_CASE("aot names: what functions cannot be called, why, and what they can") {
  const TemporaryDirectory directory;
  const auto x = kt::tensor("x", {kt::dim("n")});
  const auto refusal = [&](const std::string& name) {
    return error_text::value_error(
        [&] { kt::aot::write({x}, kt::sum(x), {.name = name, .directory = directory.path()}); });
  };
  const std::string library = "the C library has that name already";
  const auto expected = [](const std::string& name, const std::string& why,
                           const std::string& instead) {
    return "aot::write: \"" + name + "\" cannot be the name of a C function: " + why + "; \"" +
           instead + "\" can  [here]";
  };
  // Functions of libc and libm, those that the code itself calls, and a variable.
  for (const char* name : {"malloc", "exp", "printf", "fmaf", "fma", "memcpy", "memset", "memmove",
                           "read", "environ", "pthread_create"}) {
    CHECK(refusal(name) == expected(name, library, "my_" + std::string(name)));
  }
  CHECK(refusal("for") == expected("for", "it is a keyword of C or C++", "my_for"));
  CHECK(refusal("EOF") == expected("EOF", "names of capitals are those of macros", "eof"));
  CHECK(refusal("size_t") ==
        expected("size_t", "names that end in _t are those of types", "my_size_t_function"));
  CHECK(refusal("assert") == expected("assert", "it is a macro of the C library", "my_assert"));
  CHECK(refusal("argp") ==
        expected("argp", "its header also declares argp_error, and " + library, "my_argp"));
  CHECK(refusal("kroton_context_create") == expected("kroton_context_create",
                                                     "Kroton's own runtime declares that name",
                                                     "my_kroton_context_create"));
  CHECK(refusal("kroton_cholesky_f64") == expected("kroton_cholesky_f64",
                                                   "Kroton's own runtime declares that name",
                                                   "my_kroton_cholesky_f64"));
  CHECK(refusal("") == expected("", "it is empty", "function"));
  CHECK(refusal("train step") ==
        expected("train step",
                 "wanted are letters, digits and underscores, beginning with a letter",
                 "train_step"));
  CHECK(refusal("_GLOBAL_OFFSET_TABLE_") ==
        expected("_GLOBAL_OFFSET_TABLE_",
                 "C and C++ keep names that begin with an underscore, or hold two in a row, for "
                 "themselves",
                 "global_offset_table"));
  CHECK(error_text::value_error([&] {
          kt::aot::write({x}, kt::sum(x),
                         {.name = "f", .directory = directory.path(), .output_names = {"size_t"}});
        }) ==
        "aot::write: \"size_t\" cannot be the name of an output in C: it is a type of the C "
        "library; \"size_t_\" can  [here]");
  CHECK(directory.names().empty());
}

TEST_CASE("aot names: two functions whose names differ in capitals only") {
  const TemporaryDirectory directory;
  const auto x = kt::tensor("x", {kt::dim("n")});
  const auto w = kt::shared(kt::Array::ones({1}), "w");
  for (const char* name : {"train", "Train"}) {
    kt::aot::write({x}, kt::sum(x), {.name = name, .directory = directory.path()});
  }
  write_file(
      directory.file("use.c"),
      "#include \"train.h\"\n#include \"Train.h\"\n"
      "int (*const both[])(int64_t, const float*, float*, void*, size_t) = {train, Train};\n");
  run_well(places::c_compiler() + " -std=c99" + strict + directory.file("use.c"));
  // Their states' sizes are macros of one name.
  for (const char* name : {"train", "Train"}) {
    kt::aot::write({x}, kt::sum(x) * w, {.name = name, .directory = directory.path()});
  }
  write_file(directory.file("use.c"), "#include \"train.h\"\n#include \"Train.h\"\n");
  const Outcome outcome =
      run(places::c_compiler() + " -std=c99" + strict + directory.file("use.c"));
  CHECK(outcome.status != 0);
  CHECK(outcome.output.find("another function's name differs from Train in capitals only") !=
        std::string::npos);
}

TEST_CASE("a size has a name") {
  CHECK(error_text::value_error([] { kt::dim(""); }) ==
        "dim: a size needs a name that is not empty  [here]");
}

TEST_CASE("functions of any name run in the process") {
  const auto x = kt::tensor("x", {kt::dim("n"), kt::dim("m")});
  const kt::Array values = kt::Array::from({{1.0F, 2.0F}, {3.0F, 4.0F}});
  for (const std::string& name :
       {std::string("_GLOBAL_OFFSET_TABLE_"), std::string("malloc"), std::string("memcpy"),
        std::string("memset"), std::string("fmaf"), std::string(""), std::string("main"),
        std::string("kroton_entry"), std::string("start"), std::string("k0_copy"),
        std::string("__tls_get_addr"), std::string("llvm.memcpy"), std::string("a b"),
        std::string("\xff"), std::string("a\0b", 3), std::string(10000, 'x')}) {
    CAPTURE(name);
    const auto f =
        kt::function({x}, {kt::zeros({1000}), kt::transpose(kt::dot(x, x)), x}, {.name = name});
    const auto results = f(values);
    CHECK(kt::array_equal(results[0], kt::Array::zeros({1000})));
    CHECK(kt::array_equal(results[1], kt::Array::from({{7.0F, 15.0F}, {10.0F, 22.0F}})));
    CHECK(kt::array_equal(results[2], values));
  }
}
