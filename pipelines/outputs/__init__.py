"""What leaves: exports, reports, closings, copies, the endpoint."""
