// Convolutions alone: forward, and the gradient by each operand for a given one of the result.
#include "classes/programs.h"

namespace kt = kroton;

namespace bench {
namespace {

using T = kt::Tensor;

struct Layer {
  kt::Shape picture, filters, result;
  kt::ConvolutionOptions options;
};

Sizes sizes_of(const std::string& text) {
  Sizes sizes;
  for (const std::string& size : split(text, 'x')) sizes.push_back(std::stol(size));
  return sizes;
}

// BATCHxCHANNELSxHEIGHTxWIDTH-FILTERSxHEIGHTxWIDTH-sSTRIDE-pPADDING-gGROUPS, with as many spatial
// sizes as there are; the last three where they are not 1, 0, 1.
Layer layer_of(const std::string& name) {
  const Parts parts = split(name, '-');
  std::map<char, std::int64_t> option = {{'s', 1}, {'p', 0}, {'g', 1}};
  for (std::size_t k = 2; k < parts.size(); ++k)
    option[parts[k][0]] = std::stol(parts[k].substr(1));
  const Sizes picture = sizes_of(parts.at(0));
  Sizes filters = sizes_of(parts.at(1));
  Sizes result = {picture[0], filters[0]};
  for (std::size_t k = 2; k < picture.size(); ++k) {
    result.push_back((picture[k] + 2 * option['p'] - filters.at(k - 1)) / option['s'] + 1);
  }
  filters.insert(filters.begin() + 1, picture[1] / option['g']);
  return {kt::Shape(picture),
          kt::Shape(filters),
          kt::Shape(result),
          {.stride = option['s'], .padding = option['p'], .groups = option['g']}};
}

T convolution(const T& x, const T& filters, const kt::ConvolutionOptions& options) {
  return x.rank() == 3   ? kt::conv1d(x, filters, options)
         : x.rank() == 4 ? kt::conv2d(x, filters, options)
                         : kt::conv3d(x, filters, options);
}

}  // namespace

Case conv_case(const Parts& parts) {
  const Layer layer = layer_of(parts.at(1));
  Inputs in;
  const auto x = in.data(layer.picture), filters = in.known(layer.filters);
  const auto y = convolution(x, filters, layer.options);
  if (parts.at(2) == "forward") return program_case(in.gives({y}), 1);
  const auto& by = parts.at(2) == "input" ? x : filters;
  return program_case(in.gives({kt::grad(weighed(y, in.data(layer.result)), by)}), 1);
}

}  // namespace bench
