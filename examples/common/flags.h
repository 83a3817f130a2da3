// The options of an example, which is about something else.
//
//     Settings settings;
//     return flags::run(argc, argv,
//                       {{"--data", &settings.data}, {"--epochs", &settings.epochs}},
//                       [&] { return run(settings); });
#pragma once
#include <kroton/kroton.h>

#include <charconv>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace flags {

// What follows "--name" goes where `value` points to; a bool is true where its flag stands. A name
// without "--" is the place of an argument of its own. Numbers are at least `least`; one with a
// fraction is above 0.
struct Flag {
  std::string name;
  std::variant<std::string*, int*, double*, bool*, kroton::Target*> value;
  int least = 1;
};

// Sets what stands in the arguments; ValueError for others and for values that cannot be.
inline void parse(int argc, char** argv, const std::vector<Flag>& flags) {
  const std::string_view path = argc > 0 ? argv[0] : "";
  const std::string program(path.substr(path.rfind('/') + 1));
  const auto fail = [&](const std::string& what) {
    throw kroton::ValueError(program + ": " + what);
  };
  std::size_t places = 0;  // taken
  for (int k = 1; k < argc; ++k) {
    const std::string argument = argv[k];
    const Flag* flag = nullptr;
    std::size_t place = 0;
    std::string known;
    for (const Flag& each : flags) {
      const bool is_named = each.name.starts_with("--");
      const bool fits =
          is_named ? each.name == argument : !argument.starts_with("--") && place++ == places;
      if (fits) flag = &each;
      known += (known.empty() ? "" : ", ") + each.name;
    }
    if (flag == nullptr) {
      fail(argument + " is no option" + (known.empty() ? "" : "; there are " + known));
    }
    if (bool* const* is_set = std::get_if<bool*>(&flag->value)) {
      **is_set = true;
      continue;
    }
    const bool is_place = !flag->name.starts_with("--");
    if (is_place) ++places;
    if (!is_place && k + 1 == argc) fail(flag->name + " takes a value");
    const std::string value = is_place ? argument : argv[++k];
    const char* const end = value.data() + value.size();
    std::visit(
        [&](auto* to) {
          using T = std::remove_pointer_t<decltype(to)>;
          if constexpr (std::is_same_v<T, std::string>) {
            *to = value;
          } else if constexpr (std::is_same_v<T, kroton::Target>) {
            if (value != "cpu" && value != "cuda")
              fail(flag->name + " is cpu or cuda, not " + value);
            *to = value == "cpu" ? kroton::cpu() : kroton::cuda();
          } else if constexpr (!std::is_same_v<T, bool>) {
            T number{};
            const auto read = std::from_chars(value.data(), end, number);
            constexpr bool is_whole = std::is_same_v<T, int>;
            const bool is_read = read.ec == std::errc() && read.ptr == end;
            if (!is_read || !(is_whole ? number >= flag->least : number > 0 && number < 1e300)) {
              fail(flag->name + " takes a " + (is_whole ? "whole " : "") + "number " +
                   (is_whole ? "of at least " + std::to_string(flag->least) : "above 0") +
                   ", not '" + value + "'");
            }
            *to = number;
          }
        },
        flag->value);
  }
}

// The exit status: that of `body`, or 1 after an error, which is printed.
template <class Body>
int run(int argc, char** argv, const std::vector<Flag>& flags, const Body& body) {
  try {
    parse(argc, argv, flags);
    return body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace flags
