// What KROTON_DUMP asks to be shown.
#pragma once
#include <cstdlib>
#include <string>

namespace kroton {

// Whether that stage is in the list.
inline bool dumps(const char* stage) {
  const char* asked = std::getenv("KROTON_DUMP");
  if (asked == nullptr) return false;
  const std::string list = "," + std::string(asked) + ",";
  return list == ",all," || list.find("," + std::string(stage) + ",") != std::string::npos;
}

}  // namespace kroton
