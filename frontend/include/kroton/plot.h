// Curves and matrices as SVG.
#pragma once
