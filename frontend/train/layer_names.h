// Names of layers inside of a network.
#pragma once
#include <kroton/nn_layers.h>

#include <string>
#include <vector>

namespace kroton::nn {

// The layers' own names; the others are numbered by their kinds. ValueError naming `what` for a
// name that two layers have.
std::vector<std::string> names_of(const char* what, const std::vector<Layer>& layers);

// Those of `names` that are most like `name`, at most three, the nearest first.
std::vector<std::string> near_names(const std::vector<std::string>& names, const std::string& name);

}  // namespace kroton::nn
