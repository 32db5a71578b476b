"""The page emissions."""
