// Names that are not among those that there are.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace kroton::data {

// "there is no column "lenght"; did you mean "length"? There are "length", "width"".
std::string no_such_name(const std::string& kind, std::string_view name,
                         const std::vector<std::string>& names);

}  // namespace kroton::data
